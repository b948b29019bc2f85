"""The audit trail on the topic `notices`: who did what, when, and with what result."""

from collections.abc import Iterable
from typing import NamedTuple

from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.triage.dead_letter import BadPlace, DeadLetter, Place, parse_place
from schemas.cloud_events import event_headers
from schemas.codec import NOTICE, Codecs
from schemas.ids import event_id
from schemas.records import Anomaly, Notice
from schemas.topics import DEAD_LETTERS, NOTICES, message_key

CANCEL_REQUESTED = "cancel_requested"
ANOMALY_MARKED = "anomaly_marked"
DEAD_LETTER_MARKED = "dead_letter_marked"
# The result of `linkstatus verify`: no connection has the name of its provider.
VERIFIED = ("linkstatus", "topics", "topics_verified")
# The origin of every action. A notice from a callback has its record as origin, so that an
# outsider cannot forge an action.
_ORIGIN = "board"
_PUBLISH_SECONDS = 10.0


class Mark(NamedTuple):
    """What a person decided about an anomaly or a dead letter: it is resolved, or open again.
    `at` in microseconds, UTC.
    """

    resolved: bool
    by: str
    at: int
    note: str = ""


def action(
    kind: str, provider: str, subject_id: str, status: str, at: int, attributes: dict[str, str]
) -> Notice:
    """The notice of an action; `at` in microseconds, UTC."""
    texts = (text for item in sorted(attributes.items()) for text in item)
    return {
        "event_id": event_id("notice", provider, kind, subject_id, at, *texts),
        "provider": provider,
        "kind": kind,
        "subject_id": subject_id,
        "status": status,
        "verified": True,
        "attributes": attributes,
        "received_at": at,
        "origin": _ORIGIN,
    }


def anomaly_marked(anomaly: Anomaly, mark: Mark) -> Notice:
    """The notice of a mark on an anomaly."""
    attributes = {"anomaly": anomaly["event_id"], "kind": anomaly["kind"], **_attributes(mark)}
    provider, link_id = anomaly["provider"], anomaly["link_id"]
    return action(ANOMALY_MARKED, provider, link_id, _status(mark), mark.at, attributes)


def dead_letter_marked(dead_letter: DeadLetter, mark: Mark) -> Notice:
    """The notice of a mark on a dead letter."""
    attributes = {"reason": dead_letter.reason, **_attributes(mark)}
    # Kafka dates the dead letter by another clock. An older mark would not apply to it.
    at = max(mark.at, dead_letter.at)
    name = dead_letter.place.name
    return action(DEAD_LETTER_MARKED, dead_letter.provider, name, _status(mark), at, attributes)


def _status(mark: Mark) -> str:
    return "resolved" if mark.resolved else "open"


def _attributes(mark: Mark) -> dict[str, str]:
    return {"by": mark.by, **({"note": mark.note} if mark.note else {})}


def is_action(notice: Notice) -> bool:
    """Whether a person caused the notice, not a provider."""
    return notice["origin"] == _ORIGIN


def is_link_action(notice: Notice) -> bool:
    """Whether a person caused the notice, and its subject is a link."""
    return is_action(notice) and notice["kind"] != DEAD_LETTER_MARKED


def marked_anomaly(notice: Notice) -> str | None:
    """The id of the anomaly that the notice marks; None for any other notice."""
    if not is_action(notice) or notice["kind"] != ANOMALY_MARKED:
        return None
    return notice["attributes"].get("anomaly")


def marked_dead_letter(notice: Notice) -> Place | None:
    """The place of the dead letter that the notice marks; None for any other notice."""
    topic, _, place = (notice["subject_id"] or "").partition("/")
    is_mark = is_action(notice) and notice["kind"] == DEAD_LETTER_MARKED
    if not is_mark or topic != DEAD_LETTERS.name:
        return None
    try:
        return parse_place(place)
    except BadPlace:
        return None


def mark_of(notice: Notice) -> Mark:
    """The mark in a notice of a mark."""
    attributes = notice["attributes"]
    by, note = attributes.get("by", ""), attributes.get("note", "")
    return Mark(notice["status"] == "resolved", by, notice["received_at"], note)


def publish(
    cluster: Cluster,
    codecs: Codecs,
    notices: Iterable[Notice],
    seconds: float = _PUBLISH_SECONDS,
) -> None:
    """Publish the notices with acks=all. Raises NotAcknowledged, KafkaException."""
    records = []
    for notice in notices:
        key = message_key(notice["provider"], notice["subject_id"] or "")
        headers = event_headers(NOTICE, key, notice)
        records.append((key, codecs.encode(NOTICE, notice), headers))
    sync_producer.publish(cluster, NOTICES.name, records, seconds)
