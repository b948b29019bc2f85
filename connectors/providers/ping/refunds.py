"""Refunds of Ping's payments, as GET payment order and GET payment show them.

Source: Ping's C# SDK, `Payments.Get.V1.Payment`: `refund {amount, refunded_at}`, and `refunds` with
several. Ping sends no callback about them, and gives them no id. After SPLIT or SETTLE of the order
a refund through Ping is not possible.
"""

from typing import Any

from connectors.providers import facts, payload
from connectors.providers.base import Facts
from connectors.providers.raw import Raw
from schemas import ids


class Refund(payload.Payload):
    # Minor units of the order's currency.
    amount: payload.MinorUnits | None = None
    refunded_at: payload.Timestamp | None = None


def refund_facts(
    raw: Raw, link_id: str, payment_id: str | None, currency: str | None, payments: Any
) -> Facts:
    """Return the facts about refunds of this payment, one of `payments`."""
    items = payments if isinstance(payments, list) else [payments]
    payment = next((one for one in items if payload.member(one, "id") == payment_id), None)
    if payment is None or payment_id is None:
        return Facts()
    refunds = payload.member(payment, "refunds") or payload.member(payment, "refund") or []
    return facts.of_items(
        raw,
        "refunds",
        refunds if isinstance(refunds, list) else [refunds],
        lambda item: _facts(raw, link_id, payment_id, currency, item),
    )


def _facts(raw: Raw, link_id: str, payment_id: str, currency: str | None, item: Any) -> Facts:
    refund = payload.validate(Refund, item)
    # The same refund is in `refund` and in `refunds`: its time is what they have in common, in
    # microseconds, because one time has several spellings.
    at = payload.micros(refund.refunded_at)
    refund_id = payment_id if at is None else f"{payment_id}@{at}"
    event = facts.link_event(
        raw,
        link_id,
        "UNKNOWN",
        "refunded",
        identity=("refunded", refund_id, refund.amount),
        occurred_at=at,
        payment_id=payment_id,
        refund={
            "refund_id": refund_id if ids.is_identifier(refund_id) else payment_id,
            "kind": "REFUND",
            "state": "EXECUTED",
            "payment_id": payment_id,
            "amount_minor": refund.amount,
            "currency": None if refund.amount is None else currency,
        },
        attributes=refund.unread(),
    )
    return Facts((event,))
