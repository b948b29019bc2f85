"""Transactions of TrueLayer's merchant accounts: payments that arrived, and money that left.

Source: docs "Get your merchant account transactions or payment sources"; the answers are those of
truelayer-java's tests. `from` and `to` are both inclusive, to the second. With the header
`tl-enable-pagination` an answer has at most one page, and the cursor of the next. A transaction has
no fee: TrueLayer invoices it.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from pydantic import AliasChoices, Field

from connectors.providers import api, payload
from connectors.providers.base import ApiResponse, Unreadable
from connectors.providers.lists import MOST_PAGES, checked, utc
from connectors.providers.payout_api import PayoutLines, Payouts, lines_of, page_of, pages_of
from schemas import ids
from schemas.payouts import PayoutKind, PayoutLine

HEADERS = {"accept": "application/json", "tl-enable-pagination": "true"}
# Type of a transaction -> what it is. `external_payment` is a bank transfer without a payment.
KINDS: dict[str, PayoutKind] = {
    "merchant_account_payment": "PAYMENT",
    "external_payment": "PAYMENT",
    "refund": "REFUND",
    "payout": "TRANSFER",
}
# Status -> whether the money moved.
_MOVED = {"settled": True, "executed": True, "pending": False, "failed": False}


class Transaction(payload.Payload):
    id: payload.Identifier
    type: payload.Identifier
    status: payload.Identifier
    currency: payload.AnyCaseCurrency
    amount_in_minor: payload.MinorUnits
    at: payload.Timestamp | None = Field(
        default=None, validation_alias=AliasChoices("settled_at", "executed_at", "created_at")
    )
    payment_id: payload.Identifier | None = None


def requests(call: Callable[[str], Any], start: int, end: int) -> Payouts:
    """Yield the requests for a day. `call` yields the request for a path, with its token."""
    response: ApiResponse = yield from call("/v3/merchant-accounts")
    accounts = payload.member(checked(response, "GET merchant accounts"), "items")
    found = [payload.member(a, "id") for a in accounts] if isinstance(accounts, list) else []
    pages: list[bytes] = []
    for account_id in filter(ids.is_identifier, found):
        query: dict[str, str] | None = {"from": utc(start), "to": utc(end)}
        while query and len(pages) < MOST_PAGES:
            path = f"/v3/merchant-accounts/{api.path_part(account_id)}/transactions"
            page: ApiResponse = yield from call(f"{path}?{urlencode(query)}")
            document = checked(page, "GET transactions of a merchant account")
            pages.append(page_of(account_id, page.body))
            cursor = payload.member(document, "pagination", "next_cursor")
            query = query | {"cursor": cursor} if cursor and isinstance(cursor, str) else None
    bodies = {"merchant_accounts": response.body, "pages": b"[%s]" % b",".join(pages)}
    return api.combined(bodies)


def lines(body: bytes) -> PayoutLines:
    """Return the lines of a day's answers. Raises Unreadable."""
    items = pages_of(payload.json_object(body).get("pages"), "items")
    return lines_of("transactions", items, lambda pair: _lines(*pair))


def _lines(account_id: str, item: Any) -> Iterator[PayoutLine]:
    transaction = payload.validate(Transaction, item)
    kind, moved = KINDS.get(transaction.type), _MOVED.get(transaction.status)
    if kind is None or moved is None:
        wrong = transaction.type if kind is None else transaction.status
        raise Unreadable(f"unknown type or status {wrong!r}")
    if not moved:
        return
    if transaction.at is None:
        raise Unreadable("settled_at and executed_at: are missing")
    amount = transaction.amount_in_minor * (1 if kind == "PAYMENT" else -1)
    yield PayoutLine(
        line_id=transaction.id,
        kind=kind,
        at=payload.micros(transaction.at) or 0,
        currency=transaction.currency,
        gross_minor=amount,
        fee_minor=0,
        net_minor=amount,
        payout_id=account_id,
        payment_id=transaction.payment_id,
    )
