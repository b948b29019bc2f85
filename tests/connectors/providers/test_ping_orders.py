"""Ping's calls to close, split and settle an order, and what its answers mean."""

import json

import pytest

from connectors.providers.base import ApiResponse
from connectors.providers.order_api import Done, OrderAction, Refused, Verdict, Wait
from connectors.providers.ping import Ping, PingConfig

ORDERS = Ping(
    PingConfig.model_validate(
        {
            "payments_url": "http://ping.test/payments",
            "tenant_id": "a tenant",
            "api_secret": "s3cret",
        }
    )
)
NOT_ENDED = {"errors": [{"error": "operation_forbidden", "description": "payments not ended"}]}


@pytest.mark.parametrize(
    ("action", "fast_forward", "path", "body"),
    [
        ("CLOSE", False, "close", {}),
        ("CLOSE", True, "close", {}),
        ("SPLIT", False, "split", {"fast_forward": False}),
        ("SETTLE", False, "settle", {"fast_forward": False}),
        ("SETTLE", True, "settle", {"fast_forward": True}),
    ],
)
def test_request_is_as_in_the_reference_of_ping(
    action: OrderAction, fast_forward: bool, path: str, body: dict[str, bool]
) -> None:
    request = ORDERS.order_request("an/order", action, fast_forward)
    url = f"http://ping.test/payments/api/v1/payment_orders/an%2Forder/{path}"
    assert (request.method, request.url) == ("PUT", url)
    assert json.loads(request.body) == body
    assert request.headers["tenant_id"] == "a tenant"
    assert request.headers["x-api-secret"] == "s3cret"


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        (Done(), (200, 204)),
        (Refused("CLOSE answered {}: no"), (400, 404, 405, 410, 422)),
        (Wait("CLOSE answered {}: no", provider_down=False), (403, 409)),
        # What any other order would meet, too.
        (Wait("CLOSE answered {}: no", provider_down=True), (301, 401, 429, 500, 502, 503)),
    ],
)
def test_status_decides_the_verdict(kind: Verdict, statuses: tuple[int, ...]) -> None:
    for status in statuses:
        verdict = ORDERS.order_verdict("CLOSE", ApiResponse(status, b"no"))
        assert repr(verdict) == repr(kind).format(status)


def test_page_of_a_proxy_is_no_success() -> None:
    page = ApiResponse(200, b"<html>one moment, please</html>", {"Content-Type": "text/html"})
    verdict = ORDERS.order_verdict("SETTLE", page)
    assert isinstance(verdict, Wait)
    assert verdict.provider_down
    assert ORDERS.order_verdict("SETTLE", ApiResponse(200, b"{}")) == Done()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (json.dumps(NOT_ENDED).encode(), "operation_forbidden payments not ended"),
        (b'{"error": "not_found"}', "not_found"),
        (b"<html>", "<html>"),
        (b"[1]", "[1]"),
        (b'{"errors": 7}', "7"),
        (b"\xff" * 2000, "\ufffd" * 500),
        (b"[" * 100_000, "[" * 500),
    ],
)
def test_reason_is_in_the_words_of_the_provider(body: bytes, words: str) -> None:
    verdict = ORDERS.order_verdict("SPLIT", ApiResponse(404, body))
    assert verdict == Refused(f"SPLIT answered 404: {words}")
