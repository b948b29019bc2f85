"""Batches of Peach's links: their events, the batch query, and the configuration probe.

A batch event is unsigned, so the batch query checks what it claims. The fields of all three are not
documented, apart from the statuses of a batch and its numbers of rows.
"""

from connectors.providers import facts, lookup_answer, payload
from connectors.providers.base import Unreadable
from connectors.providers.raw import Raw
from schemas import ids
from schemas.records import LookupRequest, Notice

# A lookup names a batch by this prefix and its id, as the API path does; no link id starts so.
PREFIX = "batches/"
STATUSES = frozenset({"initiated", "processing", "completed", "error", "expired"})
# Fields of the batch query, which the undocumented batch event may have too.
_BATCH_FIELDS = ("batchId", "totalRows", "successfulRows")
# Fields that name the type of an event in the webhooks of other products. A probe has none.
_TYPES = ("type", "event")
_ANSWERED = "batch" + facts.LOOKED_UP
_ANSWER_FIELDS = ("filename", "totalRows", "successfulRows", "errorCode")


def batch_id_of(link_id: str) -> str | None:
    """Return the id of the batch that a lookup is about; None if it is about a link."""
    return link_id.removeprefix(PREFIX) if link_id.startswith(PREFIX) else None


def is_batch(document: payload.Document) -> bool:
    """Return whether it has a field that only batches have, or an own id with a batch status."""
    if "paymentId" in document:
        return False
    status = document.get("status")
    has_batch_status = isinstance(status, str) and status in STATUSES
    return any(name in document for name in _BATCH_FIELDS) or (
        has_batch_status and "id" in document
    )


def is_probe(document: payload.Document) -> bool:
    """Return whether it is a configuration probe: JSON without a payment and without a status."""
    return not is_batch(document) and "paymentId" not in document and "status" not in document


def callback_notice(raw: Raw, document: payload.Document) -> Notice:
    """Return the notice of a batch event, of a probe, or of a signed event of an unknown type.
    Raises Unreadable for other JSON.
    """
    if raw.verified and _is_unknown(document):
        return _unknown_event(raw, document)
    if is_probe(document):
        return facts.notice(raw, "configuration", attributes=payload.attributes(document))
    if not is_batch(document):
        raise Unreadable("paymentId: missing")
    status = _status(document)
    batch_id = document.get("batchId", document.get("id"))
    if not ids.is_identifier(batch_id):
        raise Unreadable("batchId: missing or not an identifier")
    known = ("batchId" if "batchId" in document else "id", "status")
    rest = {name: value for name, value in document.items() if name not in known}
    return facts.notice(raw, "batch", batch_id, status, payload.attributes(rest))


def _is_unknown(document: payload.Document) -> bool:
    """Return whether it is neither a probe nor an event of a batch that we know."""
    if is_probe(document):
        return not document.keys().isdisjoint(_TYPES)
    status = document.get("status")
    return not (is_batch(document) and isinstance(status, str) and status in STATUSES)


def _unknown_event(raw: Raw, document: payload.Document) -> Notice:
    word = next((str(document[name]) for name in (*_TYPES, "status") if name in document), "")
    attributes = payload.flat_attributes(document)
    if token := attributes.get("registrationId"):
        attributes["registrationId"] = payload.masked(token)
    return facts.unknown_event(raw, word, document.get("batchId", document.get("id")), attributes)


def answer_notice(raw: Raw, batch_id: str) -> Notice:
    """Return the notice of an answer of the batch query. Raises Unreadable."""
    if word := lookup_answer.not_found(raw):
        return facts.notice(raw, _ANSWERED, batch_id, word)
    document = payload.json_object(raw.body)
    if document.get("id") not in (None, batch_id):
        raise Unreadable("the answer is about a batch that the lookup did not ask for")
    known = {name: document[name] for name in _ANSWER_FIELDS if name in document}
    return facts.notice(raw, _ANSWERED, batch_id, _status(document), payload.attributes(known))


def lookups(raw: Raw, notice: Notice) -> tuple[LookupRequest, ...]:
    """Return the lookup that checks whether an unverified batch event is true."""
    batch_id = notice["subject_id"]
    if raw.verified or notice["kind"] != "batch" or batch_id is None:
        return ()
    return (facts.lookup_request(raw, PREFIX + batch_id),)


def _status(document: payload.Document) -> str:
    status = document.get("status")
    if not isinstance(status, str) or status not in STATUSES:
        raise Unreadable("status: not a known batch status")
    return status
