"""The Reconciliation API of Peach: its transactions, and which of them it has settled.

Source: docs bus-ops-recon-api and its reference; the shape of the answer is that of Peach's public
Postman collection: a list of flat documents, amounts in major units. `settlementStatus`,
`settlementReference` and `amount` came later and may be missing. A request is about at most 24
hours of creation times, one request a second, nothing before 2023. Amounts: `debit` and `credit`
are what the payer paid and got back, `settledAmount` what Peach pays out; the rest is its fee.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from connectors.providers import payload
from connectors.providers.base import ApiRequest, ApiResponse, PayoutField, Unreadable
from connectors.providers.lists import checked, rows_of, utc
from connectors.providers.payout_api import PayoutLines, Payouts, lines_of
from connectors.providers.payout_rows import columns_of, read_row
from schemas.payouts import PayoutLine

# 2023-01-01T00:00:00Z
SINCE = 1_672_531_200_000_000
# Our fields -> the names in answers and in exports of the Dashboard.
COLUMNS: Mapping[PayoutField, tuple[str, ...]] = {
    "line_id": ("uniqueid", "peachuniqueid"),
    "payment_id": ("uniqueid", "peachuniqueid"),
    # A refund has an id of its own, and shares this one with its payment.
    "order_id": ("merchanttransactionid", "merchantinvoiceid", "transactionid"),
    # The API selects by the time of creation, and so do we.
    "at": ("createdat", "timestamp", "date"),
    "kind": ("paymenttype",),
}


def requests(
    call: Callable[[ApiRequest], Any], base_url: str, merchant_id: str, start: int, end: int
) -> Payouts:
    """Yield the requests for a day. `call` yields a request with its token."""
    # Peach wants the zone of a time escaped; quote_via keeps spaces from becoming `+`.
    period = urlencode({"startDate": utc(start), "endDate": utc(end)}, quote_via=quote)
    merchant = quote(merchant_id, safe="")
    url = f"{base_url}/api/merchants/{merchant}/transactions-recon?{period}"
    request = ApiRequest("GET", url, {"accept": "application/json"})
    response: ApiResponse = yield from call(request)
    checked(response, "GET transactions-recon")
    return response.body


def lines(body: bytes) -> PayoutLines:
    """Return the settled transactions of an answer. Raises Unreadable."""
    try:
        document = payload.json_value(body)
    except ValueError as error:
        raise Unreadable(f"the body is not JSON: {error}") from None
    return lines_of("transactions", rows_of(document), _lines)


def _lines(row: Any) -> Iterator[PayoutLine]:
    if not isinstance(row, dict):
        raise Unreadable("not an object")
    columns = columns_of([*row], COLUMNS, {})
    if not row.get(columns.get("payment_id", "")):
        raise Unreadable("uniqueId: is missing")
    if "settled" not in columns and not row.get(columns.get("net", "")):
        # Nothing says that it was settled.
        return
    line = read_row(row, columns, "", None)
    if line is not None:
        yield line
