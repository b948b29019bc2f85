"""Batches of Peach's links: what a batch's unsigned webhook claims is asked of the batch query.

The fields of both are undocumented but for the words of a batch's status and the numbers of rows.
"""

from connectors import reading
from connectors.peach import checkout
from connectors.provider import Raw, Unreadable
from schemas.records import LookupRequest, Notice

# A batch is asked about under this name and its id, as the API has it; no link's id begins so.
PREFIX = "batches/"
_TOLD = ("filename", "totalRows", "successfulRows", "errorCode")


def questions(raw: Raw, notice: Notice) -> tuple[LookupRequest, ...]:
    """What to ask about a notice that nothing proves: whether the batch is there, and how it is."""
    batch = notice["subject_id"]
    if raw.verified or notice["kind"] != "batch" or batch is None:
        return ()
    return (raw.question(PREFIX + batch),)


def asked_about(link_id: str) -> str | None:
    """The batch that a question is about; None if it is about a link."""
    return link_id.removeprefix(PREFIX) if link_id.startswith(PREFIX) else None


def answer(raw: Raw, batch: str) -> Notice:
    """What the batch query tells. Raises Unreadable."""
    if word := reading.not_there(raw):
        return raw.notice("batch lookup", subject_id=batch, status=word)
    payload = reading.json_object(raw.body)
    if payload.get("id") not in (None, batch):
        raise Unreadable("the answer is about another batch than the one asked about")
    status = payload.get("status")
    if not isinstance(status, str) or status not in checkout.BATCH_STATUS:
        raise Unreadable("status: no batch status known")
    told = reading.texts({name: payload[name] for name in _TOLD if name in payload})
    return raw.notice("batch lookup", subject_id=batch, status=status, attributes=told)
