"""What a person did, kept on the topic `notices`: who, when, and what came of it."""

from collections.abc import Iterable
from typing import NamedTuple

from connectors import producing
from connectors.kafka import Cluster
from connectors.letters.letter import BadPlace, Letter, Place, place
from schemas.codec import NOTICE
from schemas.ids import event_id
from schemas.records import Anomaly, Notice
from schemas.topics import DEAD_LETTERS, NOTICES, message_key

CANCEL = "cancel asked"
HANDLED = "anomaly handled"
LETTER = "dead letter handled"
# Where such a notice comes from; those that a callback made name its record, which nobody can
# forge from outside.
_HERE = "board"
_SECONDS = 10.0


class Mark(NamedTuple):
    """What somebody said of an anomaly or a dead letter: that it is `done`, and needs nobody any
    more, or that it is to be seen to again.
    """

    done: bool
    by: str
    at: int
    note: str = ""


def notice(
    kind: str, provider: str, link_id: str, status: str, at: int, told: dict[str, str]
) -> Notice:
    """That somebody did something about a link, at this moment."""
    words = (text for item in sorted(told.items()) for text in item)
    return {
        "event_id": event_id("notice", provider, kind, link_id, at, *words),
        "provider": provider,
        "kind": kind,
        "subject_id": link_id,
        "status": status,
        "attributes": told,
        "received_at": at,
        "origin": _HERE,
    }


def of_mark(anomaly: Anomaly, mark: Mark) -> Notice:
    """The mark as it is kept."""
    told = {"anomaly": anomaly["event_id"], "kind": anomaly["kind"], **_said(mark)}
    status = "done" if mark.done else "open"
    return notice(HANDLED, anomaly["provider"], anomaly["link_id"], status, mark.at, told)


def of_letter(letter: Letter, mark: Mark) -> Notice:
    """The mark as it is kept. A dead letter that is `done` is set aside."""
    told = {"reason": letter.reason, **_said(mark)}
    status = "aside" if mark.done else "open"
    # Never before the letter, which has its time by another clock: it would be of another one then.
    at = max(mark.at, letter.at)
    return notice(LETTER, letter.provider, letter.name, status, at, told)


def _said(mark: Mark) -> dict[str, str]:
    return {"by": mark.by, **({"note": mark.note} if mark.note else {})}


def is_deed(found: Notice) -> bool:
    """Whether it tells what a person did, not what a provider called for."""
    return found["origin"] == _HERE


def is_of_link(found: Notice) -> bool:
    """Whether it tells what a person did about the link that is its subject."""
    return is_deed(found) and found["kind"] != LETTER


def marked(found: Notice) -> str | None:
    """The id of the anomaly that this is a mark of; None for any other notice."""
    if not is_deed(found) or found["kind"] != HANDLED:
        return None
    return found["attributes"].get("anomaly")


def marked_letter(found: Notice) -> Place | None:
    """Where the dead letter stands that this is a mark of; None for any other notice."""
    topic, _, where = (found["subject_id"] or "").partition("/")
    if not is_deed(found) or found["kind"] != LETTER or topic != DEAD_LETTERS.name:
        return None
    try:
        return place(where)
    except BadPlace:
        return None


def mark_of(found: Notice) -> Mark:
    """The mark that is kept in it."""
    told = found["attributes"]
    done = found["status"] in ("done", "aside")
    return Mark(done, told.get("by", ""), found["received_at"], told.get("note", ""))


def keep(cluster: Cluster, notices: Iterable[Notice], seconds: float = _SECONDS) -> None:
    """Publishes them, with acks=all. Raises NotTaken, KafkaException."""
    records = [
        (
            message_key(one["provider"], one["subject_id"] or ""),
            NOTICE.encode(one),
            [("event-id", one["event_id"].encode())],
        )
        for one in notices
    ]
    producing.publish(cluster, NOTICES.name, records, seconds)
