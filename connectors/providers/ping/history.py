"""The links of Ping that belong to the orders of a period.

Source: ping_csharp_sdk (PaymentLinks, PaymentOrders). The list of links is whole, and no link has a
time; orders are listed page by page, by the time of their creation.
"""

from collections.abc import Callable
from urllib.parse import urlencode

from connectors.providers import payload
from connectors.providers.base import ApiRequest
from connectors.providers.link_list import LinkIds, LinkList, ids_of
from connectors.providers.lists import MOST_PAGES, ListRefused, checked, next_query, utc

_PAGE = 200


def requests(
    list_links: ApiRequest, list_orders: Callable[[str], ApiRequest], start: int, end: int
) -> LinkList:
    """Yield the requests for a period. `list_orders` returns the request with a query."""
    orders: set[str] = set()
    query = urlencode({"created_at_from": utc(start), "created_at_to": utc(end), "limit": _PAGE})
    for _ in range(MOST_PAGES):
        page = checked((yield list_orders(query)), "GET payment orders")
        items = payload.member(page, "data")
        if not isinstance(items, list):
            raise ListRefused("GET payment orders: data is not a list")
        orders |= {str(payload.member(item, "id")) for item in items}
        following = next_query(page)
        if following is None:
            break
        query = following
    else:
        raise ListRefused(f"GET payment orders has more than {MOST_PAGES} pages: import a file")
    if not orders:
        return LinkIds()
    links = checked((yield list_links), "GET payment links")
    if not isinstance(links, list):
        raise ListRefused("GET payment links: not a list")
    own = [link for link in links if payload.member(link, "payment_order_id") in orders]
    return ids_of("payment_links", [payload.member(link, "payment_link_id") for link in own])
