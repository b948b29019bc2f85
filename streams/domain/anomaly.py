"""Anomalies: facts that a person has to judge."""

from schemas.ids import event_id
from schemas.records import Anomaly, AnomalyKind


def anomaly(
    provider: str,
    link_id: str,
    kind: AnomalyKind,
    detail: str,
    at: int,
    *identity: str,
) -> Anomaly:
    """Return an anomaly of a link.

    Its event id is fixed by link, kind and `identity`, so that consumers can drop repeats.
    """
    return {
        "event_id": event_id("anomaly", provider, link_id, kind, *identity),
        "provider": provider,
        "link_id": link_id,
        "kind": kind,
        "detail": detail,
        "at": at,
    }
