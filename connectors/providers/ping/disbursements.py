"""Disbursements of Ping: what it paid out, and the settlements that each consists of.

Source: ping_csharp_sdk (Disbursements, Allocations). The list is not paged. A disbursement has its
settlements, or they are the allocations with its id, page by page. All shares of a payment add up
to the payment: those of the tenant and of merchants are paid out, that of the payment facilitator
is Ping's fee.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from connectors.providers import api, payload
from connectors.providers.base import ApiRequest, Unreadable
from connectors.providers.lists import MOST_PAGES, checked, next_query, utc
from connectors.providers.payout_api import PayoutLines, Payouts, lines_of, page_of, pages_of
from schemas import ids
from schemas.payouts import PayoutLine

_PAGE = 200


class Settlement(payload.Payload):
    """A share of a payment. Ping calls it a settlement in a disbursement, else an allocation."""

    id: payload.Identifier
    amount: payload.SignedMinorUnits
    payment_id: payload.Identifier | None = None
    payment_order_id: payload.Identifier | None = None
    recipient_type: str | None = None
    reference: str | None = None


class Correction(payload.Payload):
    """A change by hand; negative if it is to the merchant's disadvantage."""

    amount: payload.SignedMinorUnits


class Disbursement(payload.Payload):
    id: payload.Identifier
    currency: payload.AnyCaseCurrency
    disbursed_at: payload.Timestamp
    settlements: tuple[Any, ...] = ()
    manual_corrections: tuple[Any, ...] = ()


def requests(get: Callable[[str], ApiRequest], start: int, end: int) -> Payouts:
    """Yield the requests for a day. `get` returns the request for a path with its query."""
    period = urlencode({"from": utc(start), "to": utc(end)})
    response = yield get(f"disbursements?{period}")
    pages: list[bytes] = []
    for disbursement_id in _without_settlements(checked(response, "GET disbursements")):
        query: str | None = urlencode({"disbursement_id": disbursement_id, "limit": _PAGE})
        while query and len(pages) < MOST_PAGES:
            page = yield get(f"allocations?{query}")
            query = next_query(checked(page, "GET allocations"))
            pages.append(page_of(disbursement_id, page.body))
    return api.combined({"disbursements": response.body, "pages": b"[%s]" % b",".join(pages)})


def _without_settlements(document: Any) -> list[str]:
    items = document if isinstance(document, list) else ()
    without = [item for item in items if not payload.member(item, "settlements")]
    found = [payload.member(item, "id") for item in without]
    return [identifier for identifier in found if ids.is_identifier(identifier)]


def lines(body: bytes) -> PayoutLines:
    """Return the lines of a day's answers. Raises Unreadable."""
    document = payload.json_object(body)
    shares: dict[str, list[Any]] = {}
    for disbursement_id, share in pages_of(document.get("pages"), "data"):
        shares.setdefault(disbursement_id, []).append(share)
    return lines_of(
        "disbursements", document.get("disbursements"), lambda item: _lines(item, shares)
    )


def _lines(item: Any, shares: dict[str, list[Any]]) -> Iterator[PayoutLine]:
    disbursement = payload.validate(Disbursement, item)
    own = disbursement.settlements or shares.get(disbursement.id, ())
    if not own and not disbursement.manual_corrections:
        raise Unreadable(f"disbursement {disbursement.id} has no settlements")
    for share in own:
        yield _share(disbursement, payload.validate(Settlement, share))
    for number, correction in enumerate(disbursement.manual_corrections):
        amount = payload.validate(Correction, correction).amount
        line_id = f"{disbursement.id}/correction/{number}"
        yield _line(disbursement, line_id, "CORRECTION", amount)


def _share(disbursement: Disbursement, share: Settlement) -> PayoutLine:
    is_fee = share.recipient_type == "payment_facilitator"
    return _line(
        disbursement,
        share.id,
        "REFUND" if share.amount < 0 else "PAYMENT",
        share.amount,
        fee=share.amount if is_fee else 0,
        payment_id=share.payment_id,
        order_id=share.payment_order_id,
        reference=share.reference,
    )


def _line(
    disbursement: Disbursement, line_id: str, kind: Any, amount: int, fee: int = 0, **subject: Any
) -> PayoutLine:
    return PayoutLine(
        line_id=line_id,
        kind=kind,
        at=payload.micros(disbursement.disbursed_at) or 0,
        currency=disbursement.currency,
        gross_minor=amount,
        fee_minor=fee,
        net_minor=amount - fee,
        payout_id=disbursement.id,
        **subject,
    )
