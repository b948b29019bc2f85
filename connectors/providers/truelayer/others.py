"""Refunds, payouts and mandates, which TrueLayer sends to the same URI: each becomes a notice."""

from connectors.providers import facts, payload
from connectors.providers.base import UnknownStatus, Unreadable
from connectors.providers.raw import Raw
from schemas import ids
from schemas.records import Notice

KNOWN = ("refund_", "payout_", "mandate_", "external_payment_received")
_SUBJECTS = ("refund_id", "payout_id", "mandate_id", "payment_id")


def notice(raw: Raw, event_type: str, document: payload.Document) -> Notice:
    """Return the notice of such an event. Raises UnknownStatus, Unreadable for an unknown type."""
    if not event_type.startswith(KNOWN):
        link_id = document.get("payment_link_id")
        if ids.is_identifier(link_id):
            raise UnknownStatus(link_id, event_type)
        raise Unreadable(f"type: {event_type!r} is not a known event")
    subject_id = next((document[name] for name in _SUBJECTS if name in document), None)
    # Nested values can contain personal data: they stay in the raw record only.
    flat = {name: value for name, value in document.items() if not isinstance(value, dict | list)}
    return facts.notice(
        raw,
        event_type,
        subject_id if ids.is_identifier(subject_id) else None,
        event_type.rpartition("_")[2],
        payload.attributes(flat),
    )
