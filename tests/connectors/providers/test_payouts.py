"""What a provider paid out, through its API: requests, pages, limits, and what they state."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors.providers.base import ApiRequest, ApiResponse, RetryableApiError, Unreadable
from connectors.providers.lists import MOST_PAGES, ListRefused, utc
from connectors.providers.payout_amounts import complete, minor
from connectors.providers.payout_api import PayoutApi, PayoutLines
from connectors.providers.payout_sandbox import Share, as_csv, pay_out
from connectors.providers.peach import Peach, recon
from connectors.providers.registry import PROVIDERS
from connectors.providers.truelayer import TrueLayer, TrueLayerConfig, account_sandbox
from schemas.money import BadAmount
from schemas.payouts import PayoutLine
from tests.connectors.providers import exchanges
from tests.connectors.providers.exchanges import TOKEN, run
from tests.connectors.sandbox.sandboxes import NOW, Simulated

SECOND = 1_000_000
DAY = 86_400 * SECOND
TODAY = NOW - NOW % DAY
APIS: dict[str, Callable[[], Any]] = {
    "ping": exchanges.ping,
    "peach": exchanges.peach,
    "truelayer": exchanges.truelayer,
}
PAID = {
    "ping": ("COMPLETED",),
    "peach": ("completed",),
    "truelayer": ("payment_created", "executed", "settled", "fulfilled"),
    "ipint": ("COMPLETED",),
}


def api_of(simulated: Simulated) -> PayoutApi:
    kind = PROVIDERS[simulated.sandbox.kind]
    provider = kind(kind.Config(**simulated.settings()))
    assert isinstance(provider, PayoutApi)
    return provider


def fetched(simulated: Simulated, start: int = TODAY, *, at: int = NOW) -> PayoutLines:
    """Return the lines of a day, as the simulated API answers; each request a second later."""
    provider, times = api_of(simulated), iter(range(at, at + 1000 * SECOND, SECOND))
    exchange = provider.payouts(start, start + DAY, at)
    body, _ = run(exchange, lambda request: simulated.respond(request, next(times)))
    return provider.read_payouts(body)


@pytest.mark.parametrize("name", APIS)
def test_simulated_api_states_what_was_paid_out(name: str) -> None:
    simulated = Simulated(name)
    for link_id, amount in (("link-1", 10_000), ("link-2", 5_000), ("link-3", 700)):
        simulated.create(*PAID[name], link_id=link_id, amount_minor=amount)
    pay_out(simulated.sandbox, [Share("link-1"), Share("link-2", 100)], NOW)
    lines, refused = fetched(simulated)
    assert refused == ()
    assert {line.currency for line in lines} == {simulated.sandbox.CURRENCY}
    gross: dict[str | None, int] = {}
    for line in lines:
        gross[line.payment_id] = gross.get(line.payment_id, 0) + line.gross_minor
        assert line.gross_minor - line.fee_minor == line.net_minor
    payments = {
        link_id: simulated.sandbox.payment_of(simulated.sandbox.state.get("link", link_id) or {})
        for link_id in ("link-1", "link-2")
    }
    assert gross.pop(payments["link-1"].payment_id) == 10_000
    assert gross.pop(payments["link-2"].payment_id) == 5_100
    assert [*gross.values()] == [100], "a payment of a stranger"
    fees = sum(line.fee_minor for line in lines)
    assert fees == (0 if name == "truelayer" else 200 + 102 + 2)
    assert fetched(simulated, TODAY + DAY, at=NOW + 99 * SECOND).lines == (), "another day"


def test_simulated_provider_without_an_api_exports_a_file() -> None:
    simulated = Simulated("ipint")
    simulated.create(*PAID["ipint"], amount_minor=1050)
    pay_out(simulated.sandbox, [Share("link-1")], NOW)
    heading, row, stranger = as_csv(simulated.sandbox.state).splitlines()
    assert heading.startswith("payout_id,settled_at,kind,payment_id,order_id,link_id,currency")
    assert row.endswith("payment,link-1,,link-1,INR,10.50,0.21,10.29")
    assert stranger.endswith(",,INR,1.00,0.02,0.98")
    with pytest.raises(KeyError, match="no-such-link"):
        pay_out(simulated.sandbox, [Share("no-such-link")], NOW)


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_failure_that_may_pass_is_retryable(name: str, status: int) -> None:
    with pytest.raises(RetryableApiError, match=str(status)):
        run(APIS[name]().payouts(TODAY, TODAY + DAY, NOW), lambda _: ApiResponse(status))


@pytest.mark.parametrize("name", APIS)
def test_refusal_has_the_providers_text(name: str) -> None:
    def respond(request: ApiRequest) -> ApiResponse:
        if request.method == "POST":
            return TOKEN
        return ApiResponse(400, b'{"message": "no such merchant"}')

    with pytest.raises(ListRefused, match=r"GET .* answered 400 no such merchant"):
        run(APIS[name]().payouts(TODAY, TODAY + DAY, NOW), respond)


def answers(*documents: Any) -> Callable[[ApiRequest], ApiResponse]:
    remaining = iter(documents)

    def respond(request: ApiRequest) -> ApiResponse:
        if request.method == "POST":
            return TOKEN
        return ApiResponse(200, json.dumps(next(remaining)).encode())

    return respond


def test_ping_is_asked_for_the_day_and_for_the_allocations_page_by_page() -> None:
    disbursement = {"id": 'd"1', "currency": "SEK", "disbursed_at": utc(NOW)}
    share = {"amount": 40, "recipient_type": "merchant", "payment_id": "p"}
    # Ping's own pages are on its host; another host must not get our secret.
    following = {"next": {"href": "https://elsewhere.test/x?disbursement_id=d&after=7"}}
    respond = answers(
        [disbursement],
        {"data": [share | {"id": "a-1"}], "_links": following},
        {"data": [share | {"id": "a-2"}], "_links": {"next": None}},
    )
    provider = exchanges.ping()
    body, requests = run(provider.payouts(TODAY, TODAY + DAY, NOW), respond)
    urls = [urlsplit(request.url) for request in requests]
    assert {(url.hostname, url.path.rpartition("/")[0]) for url in urls} == {
        ("production.pingpayments.com", "/payments/api/v1")
    }
    assert [parse_qs(url.query) for url in urls] == [
        {"from": [utc(TODAY)], "to": [utc(TODAY + DAY)]},
        {"disbursement_id": ['d"1'], "limit": ["200"]},
        {"disbursement_id": ["d"], "after": ["7"]},
    ]
    assert [(o.line_id, o.gross_minor) for o in provider.read_payouts(body).lines] == [
        ("a-1", 40),
        ("a-2", 40),
    ]


def test_pages_without_an_end_are_not_followed_for_ever() -> None:
    disbursement = {"id": "d", "currency": "SEK", "disbursed_at": utc(NOW)}
    page = {"data": [], "_links": {"next": {"href": "?x=1"}}}

    def respond(request: ApiRequest) -> ApiResponse:
        return ApiResponse(
            200, json.dumps([disbursement] if "from=" in request.url else page).encode()
        )

    _, requests = run(exchanges.ping().payouts(TODAY, TODAY + DAY, NOW), respond)
    assert len(requests) == 1 + MOST_PAGES


def test_peach_is_asked_within_its_limits() -> None:
    assert Peach.PAYOUTS_SINCE == recon.SINCE
    assert utc(recon.SINCE) == "2023-01-01T00:00:00.000Z"
    assert Peach.PAYOUT_CALLS_PER_SECOND is not None
    assert Peach.PAYOUT_CALLS_PER_SECOND < 1
    provider = exchanges.peach()
    _, (token, request) = run(provider.payouts(TODAY, TODAY + DAY, NOW), answers([]))
    assert token.url == "https://dashboard.peachpayments.com/api/oauth/token"
    url = urlsplit(request.url)
    assert (url.hostname, url.path) == (
        "reconciliation.peachpayments.com",
        "/api/merchants/m/transactions-recon",
    )
    assert url.query == (
        "startDate=2023-11-14T00%3A00%3A00.000Z&endDate=2023-11-15T00%3A00%3A00.000Z"
    )


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("startDate=2023-11-14T00:00:00Z&endDate=2023-11-15T00:00:00Z", 200),
        ("startDate=2023-11-14T00:00:00Z&endDate=2023-11-15T00:00:01Z", 400),
        ("startDate=2023-11-14T00:00:00Z&endDate=2023-11-14T00:00:00Z", 400),
        ("startDate=2022-12-31T00:00:00Z&endDate=2023-01-01T00:00:00Z", 400),
        ("startDate=yesterday&endDate=2023-01-01T00:00:00Z", 400),
        ("startDate=2023-11-14T00:00:00Z", 400),
    ],
)
def test_simulated_peach_has_the_limits_of_its_api(query: str, status: int) -> None:
    simulated = Simulated("peach")
    token = simulated.sandbox.issue_token(60, NOW)
    headers = {"authorization": f"Bearer {token}"}
    merchant = simulated.site.secrets["merchant_id"]
    path = f"/api/merchants/{merchant}/transactions-recon?{query}"
    assert simulated.call("GET", path, headers=headers).status == status
    soon = simulated.call("GET", path, headers=headers, now=NOW + SECOND - 1)
    assert (soon.status, soon.headers) == (429, {"retry-after": "1"})
    assert simulated.call("GET", path, headers=headers, now=NOW + SECOND).status == status
    other = "/api/merchants/another/transactions-recon"
    assert simulated.call("GET", other, headers=headers, now=NOW + 9 * SECOND).status == 403


def test_truelayer_is_asked_for_each_account_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_sandbox, "PAGE", 2)
    simulated = Simulated("truelayer")
    shares = []
    for number in range(4):
        simulated.create(*PAID["truelayer"], link_id=f"link-{number}", amount_minor=1000)
        shares.append(Share(f"link-{number}"))
    pay_out(simulated.sandbox, shares, NOW)
    provider = api_of(simulated)
    body, requests = run(provider.payouts(TODAY, TODAY + DAY, NOW), simulated.respond)
    paths = [urlsplit(request.url).path.removeprefix("/truelayer/v3/") for request in requests[1:]]
    transactions = f"merchant-accounts/{account_sandbox.ACCOUNT}/transactions"
    assert paths == ["merchant-accounts", *[transactions] * 3]
    assert all(request.headers["tl-enable-pagination"] == "true" for request in requests[1:])
    lines = provider.read_payouts(body).lines
    assert [line.payment_id is None for line in lines] == [False] * 4 + [True]
    assert {line.payout_id for line in lines} == {account_sandbox.ACCOUNT}


def test_truelayer_cannot_list_an_external_account() -> None:
    config = {"client_id": "me", "client_secret": "s3cret", "account": "external"}
    provider = TrueLayer(TrueLayerConfig.model_validate(config))
    with pytest.raises(ListRefused, match="reconcile with a file of that account"):
        provider.payouts(TODAY, TODAY + DAY, NOW)


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize("body", [b"", b"{}", b"[", b'{"pages": {}}', b'"text"', b"\xff"])
def test_body_of_another_shape_is_refused(name: str, body: bytes) -> None:
    with pytest.raises(Unreadable, match=r"\w+"):
        APIS[name]().read_payouts(body)


@pytest.mark.parametrize(
    ("text", "currency", "expected"),
    [
        ("12.34", "EUR", 1234),
        ("12,34", "EUR", 1234),
        ("1,234.50", "EUR", 123450),
        ("1.234,50", "EUR", 123450),
        ("1 234,50", "SEK", 123450),
        ("1\u00a0234,5 SEK", "SEK", 123450),
        ("1'234.50", "CHF", 123450),
        ("1,234,567", "EUR", 123456700),
        ("1.234.567,8", "EUR", 123456780),
        ("-12.00", "EUR", -1200),
        ("(12.00)", "EUR", -1200),
        ("+5", "EUR", 500),
        ("1,234", "JPY", 1234),
        ("12.345", "KWD", 12345),
        ("0,500", "KWD", 500),
        ("12,34,567.50", "INR", 123456750),
        ("31.12.2025", "EUR", "is not an amount"),
        ("2025.11.01", "EUR", "is not an amount"),
        ("12,34.50", "EUR", "is not an amount"),
        ("12.345,000", "KWD", 12345000),
        ("1,234", "EUR", "can be read in two ways"),
        ("10.500", "EUR", "can be read in two ways"),
        ("12.3456", "EUR", "finer than"),
        ("1,2.3,4", "EUR", "is not an amount"),
        ("12 EUR 34 SEK", "SEK", "is not an amount"),
        ("", "EUR", "is not an amount"),
        ("1e5", "EUR", "is not an amount"),
        ("--5", "EUR", "is not an amount"),
        (".", "EUR", "is not an amount"),
        ("12", "XXX", "has no minor units"),
        (True, "EUR", "is not an amount"),
        (50, "ZAR", 5000),
    ],
)
def test_amounts_are_read_as_spreadsheets_write_them(
    text: Any, currency: str, expected: int | str
) -> None:
    if isinstance(expected, int):
        assert minor(text, currency) == expected
    else:
        with pytest.raises(BadAmount, match=expected):
            minor(text, currency)


@pytest.mark.parametrize(
    ("kind", "stated", "expected"),
    [
        ("PAYMENT", (100, 2, 98), (100, 2, 98)),
        ("PAYMENT", (100, -2, 98), (100, 2, 98)),
        ("PAYMENT", (100, -2, 102), (100, -2, 102)),
        ("PAYMENT", (100, 2, 97), (100, 2, 97)),
        ("PAYMENT", (100, None, 98), (100, 2, 98)),
        ("PAYMENT", (100, 2, None), (100, 2, 98)),
        ("PAYMENT", (100, -2, None), (100, 2, 98)),
        ("PAYMENT", (None, 2, 98), (100, 2, 98)),
        ("PAYMENT", (None, None, 98), (98, 0, 98)),
        ("PAYMENT", (None, 2, None), (2, 2, 0)),
        ("REFUND", (30, None, None), (-30, 0, -30)),
        ("REFUND", (30, 1, 29), (-30, -1, -29)),
        ("REFUND", (-30, 1, -31), (-30, 1, -31)),
        ("FEE", (5, None, None), (0, 5, -5)),
        ("FEE", (None, -5, None), (0, 5, -5)),
        ("FEE", (0, None, None), (0, 0, 0)),
        ("TRANSFER", (500, None, None), (-500, 0, -500)),
        ("CORRECTION", (-7, None, None), (-7, 0, -7)),
        ("PAYMENT", (None, None, None), None),
    ],
)
def test_amounts_that_are_not_stated_follow_from_the_others(
    kind: Any, stated: tuple[Any, Any, Any], expected: tuple[int, int, int] | None
) -> None:
    assert complete(kind, *stated) == expected


def test_same_line_again_is_equal() -> None:
    simulated = Simulated("ping")
    simulated.create(*PAID["ping"])
    pay_out(simulated.sandbox, [Share("link-1")], NOW)
    first, again = fetched(simulated), fetched(simulated)
    assert first == again
    assert all(isinstance(line, PayoutLine) for line in first.lines)
