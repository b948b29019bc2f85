"""The links of Peach that were created in a period.

Source: docs retrieve-all-payment-links and its reference: `GET /api/payments`, "a paginated list",
filtered by `startDate` and `endDate`. Neither the parameters of its pages nor the shape of the
answer are documented where we could read: `limit` and `offset` are a guess. So an answer that does
not follow them is refused, and never taken for the whole list.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from connectors.providers import payload
from connectors.providers.base import ApiRequest, ApiResponse
from connectors.providers.link_list import LinkList, ids_of
from connectors.providers.lists import MOST_PAGES, ListRefused, checked, rows_of, utc

_PAGE = 100
_ADVICE = "export the links in Peach's Dashboard, and import that file"


def requests(call: Callable[[ApiRequest], Any], base_url: str, start: int, end: int) -> LinkList:
    """Yield the requests for a period. `call` yields a request with its token."""
    found: list[Any] = []
    for _ in range(MOST_PAGES):
        # Where two periods meet, a link may be in both lists.
        query = {"startDate": utc(start), "endDate": utc(end), "limit": _PAGE, "offset": len(found)}
        url = f"{base_url}/api/payments?{urlencode(query, quote_via=quote)}"
        response: ApiResponse = yield from call(
            ApiRequest("GET", url, {"accept": "application/json"})
        )
        document = checked(response, "GET payments")
        page = _ids(document)
        if page and found[: len(page)] == page:
            raise ListRefused(f"GET payments answers the first page again: {_ADVICE}")
        found += page
        total = _total(document)
        if total is None:
            is_whole = not page
        elif page or len(found) >= total:
            is_whole = len(found) >= total
        else:
            raise ListRefused(f"GET payments lists {len(found)} of {total} links: {_ADVICE}")
        if is_whole:
            return ids_of("payments", found)
    raise ListRefused(f"GET payments has more than {MOST_PAGES} pages: {_ADVICE}")


def _ids(document: Any) -> list[Any]:
    rows = rows_of(document)
    if not isinstance(rows, list):
        raise ListRefused(f"GET payments answers no list of links: {_ADVICE}")
    # As in the answer of the query, or without what is around the payment there.
    return [payload.member(row, "id") or payload.member(row, "payment", "id") for row in rows]


def _total(document: Any) -> int | None:
    """Return how many links the answer says there are in the whole list, if it says it."""
    stated = [payload.member(document, name) for name in ("total", "totalCount")]
    return next((n for n in stated if isinstance(n, int) and not isinstance(n, bool)), None)
