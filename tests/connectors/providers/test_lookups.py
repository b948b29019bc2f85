"""The API requests of each provider's lookup, its tokens, and the answers."""

import hashlib
import hmac
import json
from collections.abc import Callable
from urllib.parse import parse_qs

import pytest

from connectors.providers.base import Answer, ApiRequest, ApiResponse, Provider, RetryableApiError
from connectors.providers.lookup_answer import denied_status
from connectors.providers.peach import Peach
from connectors.providers.raw import Raw
from schemas.records import Status
from tests.connectors.providers.exchanges import (
    NOW,
    SECOND,
    Respond,
    ipint,
    look_up,
    peach,
    ping,
    request,
    truelayer,
    with_token,
)

OK = ApiResponse(200, b"{}")
PING_LINK = b'{"payment_link_id": "a/link?", "status": "CREATED", "payment_order_id": "an order"}'


def ping_api(order: ApiResponse) -> Respond:
    link = ApiResponse(200, PING_LINK)
    return lambda api_request: link if "payment_links/api" in api_request.url else order


def test_ping_requests_the_link_and_its_order() -> None:
    answer, (link, order) = look_up(ping(), ping_api(ApiResponse(200, b'{"currency": "SEK"}')))
    assert link.url.endswith("/payment_links/api/v1/payment_links/a%2Flink%3F")
    assert link.headers["tenant_id"] == "a tenant"
    assert link.headers["x-api-secret"] == "s3cret"
    assert order.url.endswith("/payments/api/v1/payment_orders/an%20order")
    body = b'{"payment_link":%s,"payment_order":{"currency": "SEK"}}' % PING_LINK
    assert answer == Answer(200, body)


def test_ping_answers_without_a_missing_order() -> None:
    answer, _ = look_up(ping(), ping_api(ApiResponse(404)))
    assert answer == Answer(200, b'{"payment_link":%s}' % PING_LINK)


@pytest.mark.parametrize("provider", [ping(), ipint()], ids=lambda p: p.name)
@pytest.mark.parametrize("status", [400, 404, 422])
def test_permanent_error_is_an_answer(provider: Provider, status: int) -> None:
    answer, sent = look_up(provider, lambda _: ApiResponse(status, b'{"error": "no"}'))
    assert (answer, len(sent)) == (Answer(status, b'{"error": "no"}'), 1)


def test_ipint_signs_path_query_and_nonce() -> None:
    _, (sent,) = look_up(ipint(), lambda _: OK)
    assert sent.url == "https://api.ipint.io:8003/invoice?id=a%2Flink%3F"
    text = f"/api/{NOW}/invoice?id=a%2Flink%3F".encode()
    assert sent.headers["signature"] == hmac.new(b"s3cret", text, hashlib.sha384).hexdigest()
    assert (sent.headers["nonce"], sent.headers["apikey"]) == (str(NOW), "key")


def test_ipint_nonces_grow_even_if_the_clock_does_not() -> None:
    provider = ipint()
    times = (NOW, NOW, NOW - 5 * SECOND, NOW + SECOND)
    nonces = [int(next(provider.lookup(request("ipint"), t)).headers["nonce"]) for t in times]
    assert nonces == [NOW, NOW + 1, NOW + 2, NOW + SECOND]


def test_peach_requests_a_token_and_the_link() -> None:
    _, (token, query) = look_up(peach(), with_token(OK))
    assert token.url == "https://dashboard.peachpayments.com/api/oauth/token"
    credentials = {"clientId": "me", "clientSecret": "s3cret", "merchantId": "m"}
    assert json.loads(token.body) == credentials
    assert query.url == "https://links.peachpayments.com/api/payments/a%2Flink%3F"
    assert query.headers["authorization"] == "Bearer a-token"


def test_truelayer_requests_a_token_the_link_and_its_payments() -> None:
    def api(api_request: ApiRequest) -> ApiResponse:
        is_payments = api_request.url.endswith("/payments")
        body = b'{"items":[]}' if is_payments else b'{"status":"enabled"}'
        return with_token(ApiResponse(200, body))(api_request)

    answer, (token, link, payments) = look_up(truelayer("s3c&ret"), api)
    assert token.url == "https://auth.truelayer.com/connect/token"
    form = {name: value[0] for name, value in parse_qs(token.body.decode()).items()}
    assert form == {
        "grant_type": "client_credentials",
        "scope": "payments",
        "client_id": "me",
        "client_secret": "s3c&ret",
    }
    assert link.url == "https://api.truelayer.com/v3/payment-links/a%2Flink%3F"
    assert payments.url == link.url + "/payments"
    assert answer.body == b'{"payment_link":{"status":"enabled"},"payments":{"items":[]}}'


@pytest.mark.parametrize(
    ("lifetime", "at", "requests"),
    [
        # A minute before the end the token is renewed, or after three quarters of a short lifetime.
        (300, (0, 239, 240), [2, 1, 2]),
        (60, (0, 1, 44, 45), [2, 1, 1, 2]),
    ],
)
def test_token_is_reused_until_shortly_before_its_end(
    lifetime: int, at: tuple[int, ...], requests: list[int]
) -> None:
    provider = peach()
    token = ApiResponse(200, b'{"access_token": "a", "expires_in": %d}' % lifetime)
    api = with_token(OK, token)
    assert [len(look_up(provider, api, NOW + s * SECOND)[1]) for s in at] == requests


def test_refused_token_is_not_reused() -> None:
    provider = peach()
    for _ in range(2):
        with pytest.raises(RetryableApiError, match="token endpoint answered 401"):
            look_up(provider, lambda _: ApiResponse(401))
    assert next(provider.lookup(request("peach"), NOW)).method == "POST"


def test_call_with_an_old_token_does_not_discard_the_new_one() -> None:
    provider = peach()
    look_up(provider, with_token(OK))
    late = provider.lookup(request("peach"), NOW)
    next(late)
    newer = ApiResponse(200, b'{"access_token": "newer", "expires_in": 300}')
    look_up(provider, with_token(OK, newer), NOW + 240 * SECOND)
    retry = late.send(ApiResponse(401))
    assert (retry.method, retry.headers["authorization"]) == ("GET", "Bearer newer")


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"access_token": ""}', b"[1]"])
def test_answer_without_a_token_is_retryable(body: bytes) -> None:
    with pytest.raises(RetryableApiError):
        look_up(peach(), lambda _: ApiResponse(200, body))


@pytest.mark.parametrize("make", [ping, peach, truelayer, ipint])
def test_credentials_are_not_shown(make: Callable[[], Peach]) -> None:
    assert "s3cret" not in repr(make().config)


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
def test_answer_denies_a_claimed_end(
    claim: Status | None, answer: Status, final: bool, denied: Status | None
) -> None:
    raw = Raw(
        *("ping", b"", {}, "lookup", True, 1, ""), link_id="1", claimed_status=claim, final=final
    )
    assert denied_status(raw, answer) == denied
