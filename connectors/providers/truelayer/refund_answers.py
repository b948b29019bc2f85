"""What TrueLayer's API answers about a refund or a payout: its amount, above all."""

from collections.abc import Mapping
from typing import Any

from connectors.providers import api, facts, payload
from connectors.providers.base import Facts, Unreadable
from connectors.providers.raw import Raw
from connectors.providers.truelayer.refunds import RETURNED, refund_fact
from schemas.records import LinkEvent
from schemas.refund_records import RefundRef, RefundState

# Status in GET refunds and GET payout -> how far it is.
STATES: Mapping[str, RefundState] = {
    "pending": "PENDING",
    "authorized": "PENDING",
    "executed": "EXECUTED",
    "failed": "FAILED",
}
_TIMES = {"PENDING": "created_at", "EXECUTED": "executed_at"}


class Item(payload.Payload):
    id: payload.Identifier
    status: payload.Identifier
    amount_in_minor: payload.MinorUnits | None = None
    currency: payload.CurrencyCode | None = None
    created_at: payload.Timestamp | None = None
    executed_at: payload.Timestamp | None = None
    failed_at: payload.Timestamp | None = None
    failure_reason: str | None = None


def path(ref: RefundRef) -> str:
    """Return the path of GET for a refund: all refunds of its payment, or one payout."""
    if ref["kind"] == "PAYOUT":
        return f"/v3/payouts/{api.path_part(ref['refund_id'])}"
    return f"/v3/payments/{api.path_part(ref['payment_id'] or '')}/refunds"


def has_amount(document: Any, ref: RefundRef) -> bool:
    """Return whether the answer tells the amount of this refund."""
    amounts = {
        payload.member(item, "id"): payload.member(item, "amount_in_minor")
        for item in _items(document)
        if isinstance(payload.member(item, "id"), str)
    }
    return isinstance(amounts.get(ref["refund_id"]), int)


def _items(document: Any) -> list[Any]:
    """Return the refunds of a list, or the one payout."""
    items = document.get("items", [document]) if isinstance(document, dict) else document
    return items if isinstance(items, list) else []


def answer_facts(raw: Raw, ref: RefundRef) -> Facts:
    """Return the facts in an answer. That the last one does not tell the amount of this refund is a
    fact, too: nothing waits for the amount any longer. Raises Unreadable.
    """
    answered = _document(raw) if raw.lookup_status.startswith("2") else None
    items = _items(answered)
    read = facts.of_items(raw, "refunds", items, lambda item: _item_facts(raw, ref, item))
    amounts = {
        fact["refund_id"]: fact["amount_minor"]
        for event in read.events
        if (fact := event["refund"]) is not None
    }
    if amounts.get(ref["refund_id"]) is not None or not raw.final or raw.item is not None:
        return read
    return read._replace(events=(*read.events, _unanswered(raw, ref)))


def _document(raw: Raw) -> Any:
    try:
        return payload.json_value(raw.body)
    except ValueError as error:
        raise Unreadable(f"the body is not JSON: {error}") from None


def _item_facts(raw: Raw, ref: RefundRef, item: Any) -> Facts:
    refund = payload.validate(Item, item)
    state = STATES.get(refund.status)
    if state is None:
        raise Unreadable(f"unknown status {refund.status!r}")
    was_executed = refund.executed_at is not None or refund.failure_reason == RETURNED
    if state == "FAILED" and was_executed:
        state = "RETURNED"
    name = f"{ref['kind'].lower()}_{refund.status}"
    fact = refund_fact(refund.id, ref["kind"], state, ref["payment_id"])
    fact["amount_minor"], fact["currency"] = refund.amount_in_minor, refund.currency
    event = facts.link_event(
        raw,
        raw.link_id or "",
        "UNKNOWN",
        name,
        identity=(name, refund.id, state, refund.amount_in_minor),
        occurred_at=payload.micros(getattr(refund, _TIMES.get(state, "failed_at"))),
        payment_id=ref["payment_id"],
        reason=refund.failure_reason,
        refund=fact,
        attributes=refund.unread(),
    )
    return Facts((event,))


def _unanswered(raw: Raw, ref: RefundRef) -> LinkEvent:
    return facts.link_event(
        raw,
        raw.link_id or "",
        "UNKNOWN",
        f"{ref['kind'].lower()}_amount_unknown",
        identity=(ref["kind"], ref["refund_id"]),
        refund=refund_fact(ref["refund_id"], ref["kind"], "UNKNOWN", ref["payment_id"]),
        attributes={"lookup_status": raw.lookup_status},
    )
