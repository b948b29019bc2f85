"""Lookups: the requests each provider's API expects, and what becomes of its answers."""

import hashlib
import hmac
import json
from collections.abc import Callable
from urllib.parse import parse_qs

import pytest

from connectors.ipint import IPint, IPintConfig
from connectors.peach import Peach, PeachConfig
from connectors.ping import Ping, PingConfig
from connectors.provider import (
    Answer,
    ApiRequest,
    ApiResponse,
    LookupRefused,
    Provider,
    Raw,
)
from connectors.truelayer import TrueLayer, TrueLayerConfig
from schemas.records import LookupRequest, Status

NOW = 1_700_000_000_000_000
SECOND = 1_000_000
PING = Ping(PingConfig.model_validate({"tenant_id": "a tenant", "api_secret": "s3cret"}))
TOKEN = ApiResponse(200, b'{"access_token": "a-token", "expires_in": 300}')


def question(provider: str, link_id: str = "a/link?") -> LookupRequest:
    return {
        "request_id": "1",
        "provider": provider,
        "link_id": link_id,
        "reason": "CLAIM",
        "claimed_status": "PAID",
        "payment_id": None,
        "issued": True,
        "requested_at": NOW,
    }


def ask(
    provider: Provider, answers: Callable[[ApiRequest], ApiResponse], now: int = NOW
) -> tuple[Answer, list[ApiRequest]]:
    """Runs a lookup against `answers`; also tells the requests it made."""
    lookup = provider.lookup(question(provider.name), now)
    made = [next(lookup)]
    while True:
        try:
            made.append(lookup.send(answers(made[-1])))
        except StopIteration as stop:
            return stop.value, made


def peach() -> Peach:
    credentials = {"client_id": "me", "client_secret": "s3cret", "merchant_id": "m"}
    return Peach(PeachConfig.model_validate(credentials))


def test_ping_asks_for_the_link_and_then_its_order() -> None:
    def api(request: ApiRequest) -> ApiResponse:
        if "payment_links/api" in request.url:
            return ApiResponse(200, b'{"payment_order_id": "an order"}')
        return ApiResponse(200, b'{"currency": "SEK"}')

    answer, (link, order) = ask(PING, api)
    assert link.url.endswith("/payment_links/api/v1/payment_links/a%2Flink%3F")
    assert link.headers["tenant_id"] == "a tenant"
    assert link.headers["x-api-secret"] == "s3cret"
    assert order.url.endswith("/payments/api/v1/payment_orders/an%20order")
    body = b'{"payment_link":{"payment_order_id": "an order"},"payment_order":{"currency": "SEK"}}'
    assert answer == Answer(200, body)


def test_ping_goes_on_without_an_order_that_is_not_found() -> None:
    def api(request: ApiRequest) -> ApiResponse:
        found = "payment_links/api" in request.url
        return ApiResponse(200, b'{"payment_order_id": "1"}') if found else ApiResponse(404)

    assert ask(PING, api)[0] == Answer(200, b'{"payment_link":{"payment_order_id": "1"}}')


@pytest.mark.parametrize("provider", [PING, IPint(IPintConfig())], ids=lambda p: p.name)
@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_lasting_no_is_an_answer(provider: Provider, status: int) -> None:
    answer, made = ask(provider, lambda _: ApiResponse(status, b'{"error": "no"}'))
    assert (answer, len(made)) == (Answer(status, b'{"error": "no"}'), 1)


def test_ipint_signs_path_query_and_nonce() -> None:
    config = IPintConfig.model_validate({"api_key": "key", "api_secret": "s3cret"})
    _, (request,) = ask(IPint(config), lambda _: ApiResponse(200, b"{}"))
    assert request.url == "https://api.ipint.io:8003/invoice?id=a%2Flink%3F"
    signed = f"/api/{NOW}/invoice?id=a%2Flink%3F".encode()
    expected = hmac.new(b"s3cret", signed, hashlib.sha384).hexdigest()
    assert request.headers["signature"] == expected
    assert (request.headers["nonce"], request.headers["apikey"]) == (str(NOW), "key")


def test_ipint_nonces_grow_even_when_the_clock_does_not() -> None:
    provider = IPint(IPintConfig())
    times = (NOW, NOW, NOW - 5 * SECOND, NOW + SECOND)
    nonces = [int(next(provider.lookup(question("ipint"), t)).headers["nonce"]) for t in times]
    assert nonces == [NOW, NOW + 1, NOW + 2, NOW + SECOND]


def test_peach_keeps_its_token_until_a_minute_before_the_end() -> None:
    provider = peach()

    def api(request: ApiRequest) -> ApiResponse:
        return TOKEN if request.method == "POST" else ApiResponse(200, b"{}")

    _, (token, query) = ask(provider, api)
    assert token.url == "https://dashboard.peachpayments.com/api/oauth/token"
    sent = {"clientId": "me", "clientSecret": "s3cret", "merchantId": "m"}
    assert json.loads(token.body) == sent
    assert query.url == "https://links.peachpayments.com/api/payments/a%2Flink%3F"
    assert query.headers["authorization"] == "Bearer a-token"
    assert len(ask(provider, api, NOW + 239 * SECOND)[1]) == 1
    assert len(ask(provider, api, NOW + 240 * SECOND)[1]) == 2


def test_a_token_of_a_minute_is_kept_for_most_of_it() -> None:
    provider, short = peach(), ApiResponse(200, b'{"access_token": "a", "expires_in": 60}')

    def api(request: ApiRequest) -> ApiResponse:
        return short if request.method == "POST" else ApiResponse(200, b"{}")

    asked = [len(ask(provider, api, NOW + after * SECOND)[1]) for after in (0, 1, 44, 45)]
    assert asked == [2, 1, 1, 2]


def test_a_refused_token_is_not_used_again() -> None:
    provider = peach()

    def api(request: ApiRequest) -> ApiResponse:
        return TOKEN if request.method == "POST" else ApiResponse(401)

    for _ in range(2):
        with pytest.raises(LookupRefused) as refused:
            ask(provider, api)
        assert refused.value.response.status == 401
    assert next(provider.lookup(question("peach"), NOW)).method == "POST"


def truelayer() -> TrueLayer:
    return TrueLayer(TrueLayerConfig.model_validate({"client_id": "me", "client_secret": "s3cret"}))


@pytest.mark.parametrize("make", [peach, truelayer], ids=["peach", "truelayer"])
def test_a_token_withdrawn_before_its_end_is_replaced_at_once(
    make: Callable[[], Provider],
) -> None:
    provider, tokens = make(), iter(("old", "new", "never"))
    valid = "old"

    def api(request: ApiRequest) -> ApiResponse:
        if request.method == "POST":
            told = {"access_token": next(tokens), "expires_in": 3600}
            return ApiResponse(200, json.dumps(told).encode())
        known = request.headers["authorization"] == f"Bearer {valid}"
        return ApiResponse(200 if known else 401, b"{}")

    ask(provider, api)
    valid = "new"
    answer, made = ask(provider, api)
    assert answer.status == 200
    assert [request.method for request in made][:3] == ["GET", "POST", "GET"]
    assert "POST" not in [request.method for request in ask(provider, api)[1]]


def test_a_call_with_an_old_token_does_not_cost_the_new_one() -> None:
    provider = peach()

    def api(request: ApiRequest) -> ApiResponse:
        return TOKEN if request.method == "POST" else ApiResponse(200, b"{}")

    ask(provider, api)
    late = provider.lookup(question("peach"), NOW)
    next(late)
    newer = ApiResponse(200, b'{"access_token": "newer", "expires_in": 300}')
    found = ApiResponse(200, b"{}")
    ask(provider, lambda r: newer if r.method == "POST" else found, NOW + 240 * SECOND)
    again = late.send(ApiResponse(401))
    assert (again.method, again.headers["authorization"]) == ("GET", "Bearer newer")


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"access_token": ""}', b"[1]"])
def test_an_answer_without_token_is_refused(body: bytes) -> None:
    with pytest.raises(LookupRefused):
        ask(peach(), lambda _: ApiResponse(200, body))


def test_truelayer_asks_for_the_link_and_its_payments() -> None:
    credentials = {"client_id": "me", "client_secret": "s3c&ret"}
    provider = TrueLayer(TrueLayerConfig.model_validate(credentials))

    def api(request: ApiRequest) -> ApiResponse:
        if request.method == "POST":
            return TOKEN
        payments = request.url.endswith("/payments")
        return ApiResponse(200, b'{"items":[]}' if payments else b'{"status":"enabled"}')

    answer, (token, link, payments) = ask(provider, api)
    assert token.url == "https://auth.truelayer.com/connect/token"
    form = {name: value[0] for name, value in parse_qs(token.body.decode()).items()}
    assert form == {"grant_type": "client_credentials", "scope": "payments", **credentials}
    assert link.url == "https://api.truelayer.com/v3/payment-links/a%2Flink%3F"
    assert payments.url == link.url + "/payments"
    assert answer.body == b'{"payment_link":{"status":"enabled"},"payments":{"items":[]}}'


def test_credentials_are_never_shown() -> None:
    for provider in (PING, peach()):
        assert "s3cret" not in repr(provider.config)


@pytest.mark.parametrize(
    ("claim", "answer", "final", "denied"),
    [
        ("PAID", "PAID", True, None),
        ("PAID", "PROCESSING", False, None),
        ("PAID", "PROCESSING", True, "PAID"),
        ("EXPIRED", "CANCELLED", False, "EXPIRED"),
        ("EXPIRED", "PAID", False, "EXPIRED"),
        ("OPENED", "CREATED", True, None),
        (None, "PAID", True, None),
    ],
)
def test_what_denies_a_claim(
    claim: Status | None, answer: Status, final: bool, denied: Status | None
) -> None:
    raw = Raw(
        "ping", b"", {}, "lookup", True, 1, "", link_id="1", claimed_status=claim, final=final
    )
    assert raw.denial(answer) == denied
