"""Lists of links: by the providers' simulators, page by page, and answers of another form."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.providers.base import ApiRequest, ApiResponse, RetryableApiError
from connectors.providers.link_list import LinkIds, LinkListApi
from connectors.providers.lists import MOST_PAGES, ListRefused
from connectors.providers.registry import PROVIDERS
from connectors.providers.simulator import NewLink
from tests.connectors.providers.exchanges import NOW, TOKEN, peach, ping, run
from tests.connectors.sandbox.sandboxes import Simulated

DAY = 86_400_000_000
START = NOW - NOW % DAY
LISTS = ("ping", "peach")


def api_of(simulated: Simulated) -> LinkListApi:
    kind = PROVIDERS[simulated.sandbox.kind]
    values = {k: v for k, v in simulated.settings().items() if not k.startswith("webhook")}
    provider = kind(kind.Config.model_validate(values))
    assert isinstance(provider, LinkListApi)
    return provider


def create(simulated: Simulated, link_id: str, at: int) -> None:
    """Create a link in an order of its own."""
    link = NewLink(link_id, 100, simulated.sandbox.CURRENCY, f"order-{link_id}")
    simulated.sandbox.create(link, at)


def listed(simulated: Simulated, start: int, end: int) -> tuple[LinkIds, list[ApiRequest]]:
    return run(api_of(simulated).list_links(start, end, NOW), simulated.respond)


def test_providers_without_a_list_are_known() -> None:
    have = [name for name, kind in PROVIDERS.items() if hasattr(kind, "list_links")]
    assert have == [*LISTS], "docs/importing.md says which have none"


@pytest.mark.parametrize("name", LISTS)
def test_list_has_the_links_of_its_period(name: str) -> None:
    simulated = Simulated(name)
    for link_id, at in (("a", START - 1), ("b", START), ("c", START + DAY - 1), ("d", START + DAY)):
        create(simulated, link_id, at)
    assert listed(simulated, START, START + DAY)[0] == LinkIds(("b", "c"))
    assert listed(simulated, START + 2 * DAY, START + 3 * DAY)[0] == LinkIds()


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("number", [1, 100, 101, 250, 401])
def test_list_is_whole_whatever_the_number_of_its_pages(name: str, number: int) -> None:
    simulated = Simulated(name)
    links = [f"{n:03}" for n in range(number)]
    for link_id in links:
        create(simulated, link_id, START)
    assert listed(simulated, START, START + DAY)[0].ids == tuple(links)


@given(days=st.lists(st.integers(0, 3), max_size=12), name=st.sampled_from(LISTS))
@settings(deadline=None, max_examples=25)
def test_windows_together_list_each_link_once(days: list[int], name: str) -> None:
    simulated = Simulated(name)
    for number, day in enumerate(days):
        create(simulated, f"link-{number}", START + day * DAY + number)
    found = [
        link_id
        for day in range(4)
        for link_id in listed(simulated, START + day * DAY, START + (day + 1) * DAY)[0].ids
    ]
    assert sorted(found) == sorted(f"link-{number}" for number in range(len(days)))


def peach_list(*pages: Any) -> LinkIds:
    """Return what Peach's list is with these pages; the last one comes again and again."""
    left = list(pages)

    def respond(request: ApiRequest) -> ApiResponse:
        if request.method == "POST":
            return TOKEN
        page = left.pop(0) if len(left) > 1 else left[0]
        return ApiResponse(200, json.dumps(page).encode())

    return run(peach().list_links(START, START + DAY, NOW), respond)[0]


def payments(*links: Any) -> list[dict[str, Any]]:
    return [{"id": link} for link in links]


@pytest.mark.parametrize(
    ("pages", "ids"),
    [
        ([{"payments": payments("a", "b"), "total": 2}], ("a", "b")),
        ([{"payments": payments("a"), "total": 2}, {"payments": payments("b"), "total": 2}], "ab"),
        ([payments("a", "b"), payments("c"), []], ("a", "b", "c")),
        ([{"data": [{"payment": {"id": "a"}}], "totalCount": 1}], ("a",)),
        ([{"payments": [], "total": 0}], ()),
    ],
)
def test_peachs_list_is_read_in_several_forms(pages: Sequence[Any], ids: Sequence[str]) -> None:
    assert peach_list(*pages).ids == tuple(ids)


@pytest.mark.parametrize(
    ("pages", "problem"),
    [
        ([payments("a")], "answers the first page again"),
        ([{"payments": payments("a"), "total": 2}], "answers the first page again"),
        ([{"payments": payments("a"), "total": 2}, {"payments": [], "total": 2}], "lists 1 of 2"),
        ([{"links": [], "payments": []}], "answers no list of links"),
        (["a text"], "answers no list of links"),
    ],
)
def test_list_that_may_not_be_whole_is_refused(pages: Sequence[Any], problem: str) -> None:
    with pytest.raises(ListRefused, match=problem) as refused:
        peach_list(*pages)
    assert "Dashboard" in str(refused.value)


def test_item_without_an_id_is_refused_alone() -> None:
    page = {"payments": [{"id": "a"}, {"id": ""}, "text", {"id": "b"}], "total": 4}
    found = peach_list(page)
    assert found.ids == ("a", "b")
    assert found.refused == ("payments.1: has no id", "payments.2: has no id")


def ping_list(orders: Any, links: Any = ()) -> LinkIds:
    def respond(request: ApiRequest) -> ApiResponse:
        body = orders if "/payment_orders" in request.url else links
        return ApiResponse(200, json.dumps(body).encode())

    return run(ping().list_links(START, START + DAY, NOW), respond)[0]


ORDERS = {"data": [{"id": "o1"}], "_links": {}}


def test_pings_list_is_refused_in_another_form() -> None:
    with pytest.raises(ListRefused, match="payment orders: data is not a list"):
        ping_list([])
    with pytest.raises(ListRefused, match="payment links: not a list"):
        ping_list(ORDERS, {})
    endless = ORDERS | {"_links": {"next": {"href": "https://evil.test/elsewhere?page=2"}}}
    with pytest.raises(ListRefused, match=f"more than {MOST_PAGES} pages"):
        ping_list(endless)


def test_credentials_go_only_to_the_configured_host() -> None:
    pages = iter(
        [ORDERS | {"_links": {"next": {"href": "https://evil.test/x?page=2"}}}, ORDERS, []]
    )
    answers = (ApiResponse(200, json.dumps(page).encode()) for page in pages)
    _, sent = run(ping().list_links(START, START + DAY, NOW), lambda _: next(answers))
    assert [one.url.partition("/api/")[0] for one in sent] == [
        "https://production.pingpayments.com/payments",
        "https://production.pingpayments.com/payments",
        "https://production.pingpayments.com/payment_links",
    ]
    assert sent[1].url.endswith("payment_orders?page=2")


def test_refusal_and_failure_differ() -> None:
    for status, kind in ((400, ListRefused), (422, ListRefused), (503, RetryableApiError)):
        with pytest.raises(kind):
            run(ping().list_links(START, START + DAY, NOW), lambda _, s=status: ApiResponse(s))  # type: ignore[misc]
