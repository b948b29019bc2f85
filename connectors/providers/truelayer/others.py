"""Other events that TrueLayer sends to the same URI, known or not: each becomes a notice."""

from connectors.providers import facts, payload
from connectors.providers.base import UnknownStatus, Unreadable
from connectors.providers.raw import Raw
from schemas import ids
from schemas.records import Notice

KNOWN = (
    *("refund_", "payout_", "mandate_", "external_payment_received"),
    *("payment_funds_received", "balance_notification"),
)
_SUBJECTS = ("refund_id", "payout_id", "mandate_id", "payment_id")


def notice(raw: Raw, event_type: str, document: payload.Document) -> Notice:
    """Return the notice of such an event. Raises UnknownStatus, Unreadable for an unknown type of
    event of a link.
    """
    is_known = event_type.startswith(KNOWN)
    if not is_known and "payment_link_id" in document:
        link_id = document["payment_link_id"]
        if ids.is_identifier(link_id):
            raise UnknownStatus(link_id, event_type)
        raise Unreadable("payment_link_id: not an identifier")
    subject_id = next((document[name] for name in _SUBJECTS if name in document), None)
    attributes = payload.flat_attributes(document)
    if not is_known:
        return facts.unknown_event(raw, event_type, subject_id, attributes)
    subject = subject_id if ids.is_identifier(subject_id) else None
    return facts.notice(raw, event_type, subject, event_type.rpartition("_")[2], attributes)
