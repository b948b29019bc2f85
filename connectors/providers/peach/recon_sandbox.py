"""The Reconciliation API of the simulated Peach, with its limits: a request a second, and a request
is about a day at most.
"""

from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from connectors.providers.base import ApiResponse
from connectors.providers.payout_sandbox import items
from connectors.providers.simulator import DAY, SECOND, Doc, State, json_response, micros, rfc3339
from schemas.money import major_units, minor_units

# 2023-01-01T00:00:00Z
SINCE = 1_672_531_200 * SECOND


def respond(state: State, query: str, now: int) -> ApiResponse:
    """Return the transactions that were created in the period of a query."""
    last = (state.get("recon", "") or {"at": 0})["at"]
    if now - last < SECOND:
        return ApiResponse(429, b'{"message": "Too many requests"}', {"retry-after": "1"})
    state.put("recon", "", {"at": now})
    period = {name: values[0] for name, values in parse_qs(query).items()}
    try:
        start, end = micros(period["startDate"]), micros(period["endDate"])
    except (KeyError, ValueError):
        return json_response(400, {"message": "startDate and endDate are required"})
    if start < SINCE or not 0 < end - start <= DAY * SECOND:
        return json_response(400, {"message": "The range is longer than 24 hours or too early"})
    rows = [row for row in _transactions(state) if start <= micros(row["createdAt"]) < end]
    return json_response(200, rows)


def _transactions(state: State) -> list[Doc]:
    """Return all transactions: settled ones, and those that wait for a payout."""
    settled: list[Doc] = []
    for payout, item in items(state, 0, 1 << 62):
        link = state.get("link", item["link_id"] or "") or {}
        settled.append(_row(item, link, payout["id"], _paid_at(link) or rfc3339(payout["at"])))
    known = {row["uniqueId"] for row in settled}
    waiting = [
        _row(_unsettled(link), link, None, _paid_at(link))
        for link in state.all("link")
        if link["status"] == "completed" and link["transactionId"] not in known
    ]
    return [*settled, *waiting]


def _paid_at(link: Doc) -> Any:
    changes = link.get("audit", ())
    return next((c["timestamp"] for c in changes if c["newStatus"] == "completed"), None)


def _unsettled(link: Doc) -> Doc:
    amount = minor_units(link["amount"], link["currency"])
    payment = {"payment_id": link["transactionId"], "currency": link["currency"]}
    return payment | {"amount": amount, "fee": 0}


def _row(item: Doc, link: Doc, payout_id: str | None, created_at: Any) -> Doc:
    def major(minor: int) -> Decimal:
        return major_units(minor, item["currency"])

    return {
        "uniqueId": item["payment_id"],
        "transactionId": link.get("merchantInvoiceId") or "unknown",
        "paymentType": "DB",
        "paymentMethod": "card",
        "brand": link.get("paymentBrand", "VISA").lower(),
        "currency": item["currency"],
        "createdAt": created_at,
        "credit": 0,
        "debit": major(item["amount"]),
        "amount": major(item["amount"]),
        "settledAmount": major(item["amount"] - item["fee"] if payout_id else 0),
        "peachResult": "successful",
        "settlementStatus": "settled" if payout_id else "pending",
        "settlementReference": payout_id,
    }
