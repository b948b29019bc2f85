"""What TrueLayer sends to the same URI besides links and their payments: kept, and told apart."""

from collections.abc import Mapping
from typing import Any

from connectors import reading
from connectors.provider import Raw, UnknownWord, Unreadable
from schemas.records import Notice

KNOWN = ("refund_", "payout_", "mandate_", "external_payment_received")
_SUBJECTS = ("refund_id", "payout_id", "mandate_id", "payment_id")


def notice(raw: Raw, event_type: str, payload: Mapping[str, Any]) -> Notice:
    """An event of no meaning for a link. Raises UnknownWord, Unreadable for an unknown type."""
    if not event_type.startswith(KNOWN):
        link_id = payload.get("payment_link_id")
        if reading.is_identifier(link_id):
            raise UnknownWord(link_id, event_type)
        raise Unreadable(f"type: {event_type!r} is no event we know")
    subject = next((payload[name] for name in _SUBJECTS if name in payload), None)
    # Nested values may name people and their accounts: the raw record has them, the notice not.
    flat = {name: value for name, value in payload.items() if not isinstance(value, dict | list)}
    return raw.notice(
        event_type,
        subject_id=subject if reading.is_identifier(subject) else None,
        status=event_type.rpartition("_")[2],
        attributes=reading.texts(flat),
    )
