"""Cancellation of a link: the API requests, and the outcome of each response."""

from typing import Any

import pytest

from connectors.providers.base import ApiRequest, ApiResponse
from connectors.providers.cancel_api import CancelApi, Outcome, Verdict, judge
from connectors.providers.registry import PROVIDERS
from tests.connectors.providers.exchanges import LINK_ID, peach, ping, run, with_token
from tests.connectors.sandbox.sandboxes import NOW, Simulated, json_bodies

CANCELLING = sorted(name for name, kind in PROVIDERS.items() if issubclass(kind, CancelApi))
FORBIDDEN = b'{"errors": [{"error": "operation_forbidden", "description": "it is CANCELLED"}]}'


def test_ping_and_peach_can_cancel() -> None:
    assert CANCELLING == ["peach", "ping"]


def test_page_of_a_proxy_cancels_nothing() -> None:
    page = ApiResponse(200, b"\n<!doctype html><title>one moment, please</title>")
    assert judge(page).outcome == "LATER"


def test_ping_receives_a_put_with_an_empty_object() -> None:
    verdict, sent = run(ping().cancel(LINK_ID, NOW), lambda _: ApiResponse(204))
    url = (
        "https://production.pingpayments.com/payment_links/api/v1/payment_links/a%2Flink%3F/cancel"
    )
    headers = {
        "accept": "application/json",
        "content-type": "application/json",
        "tenant_id": "a tenant",
        "x-api-secret": "s3cret",
    }
    assert sent == [ApiRequest("PUT", url, headers, b"{}")]
    assert verdict == Verdict("DONE", "204")


def test_peach_receives_a_delete_with_a_token() -> None:
    verdict, sent = run(peach().cancel(LINK_ID, NOW), with_token(ApiResponse(200, b"{}")))
    headers = {"accept": "application/json", "authorization": "Bearer a-token"}
    url = "https://links.peachpayments.com/api/payments/a%2Flink%3F"
    assert sent[0].url == "https://dashboard.peachpayments.com/api/oauth/token"
    assert sent[1:] == [ApiRequest("DELETE", url, headers, b"")]
    assert verdict.outcome == "DONE"


def test_peach_replaces_a_revoked_token_and_repeats_nothing_else() -> None:
    provider = peach()
    run(provider.cancel(LINK_ID, NOW), with_token(ApiResponse(200)))
    responses = [ApiResponse(400, b'{"message": "Payment is paid"}'), ApiResponse(401)]

    def api(request: ApiRequest) -> ApiResponse:
        return with_token(responses[-1] if request.method == "POST" else responses.pop())(request)

    verdict, sent = run(provider.cancel(LINK_ID, NOW), api)
    assert [request.method for request in sent] == ["DELETE", "POST", "DELETE"]
    assert verdict == Verdict("REFUSED", "400 Payment is paid")


@pytest.mark.parametrize(
    ("status", "body", "outcome", "message"),
    [
        (200, b"", "DONE", "200"),
        (204, b"", "DONE", "204"),
        (404, b'{"error": "not_found"}', "NOT_KNOWN", "404 not_found"),
        (403, FORBIDDEN, "REFUSED", "403 operation_forbidden it is CANCELLED"),
        (400, b'{"message": "Payment is completed"}', "REFUSED", "400 Payment is completed"),
        (422, b"<html>no</html>", "REFUSED", "422 <html>no</html>"),
        (422, b'{"error": "' + 9999 * b"x" + b'"}', "REFUSED", "422 " + 500 * "x"),
        (302, b"", "LATER", "302"),
        (401, b"", "LATER", "401"),
        (408, b"", "LATER", "408"),
        (409, b"", "REFUSED", "409"),
        (429, b'"slowly"', "LATER", "429 slowly"),
        (500, b"\xff", "LATER", "500 \ufffd"),
        (503, b"[" * 100_000, "LATER", "503 " + 500 * "["),
    ],
)
def test_response_has_an_outcome(status: int, body: bytes, outcome: Outcome, message: str) -> None:
    assert judge(ApiResponse(status, body)) == Verdict(outcome, message)


@pytest.mark.parametrize("name", CANCELLING)
def test_simulated_provider_cancels_once_and_calls_back(name: str) -> None:
    simulated = Simulated(name)
    provider: Any = PROVIDERS[name](PROVIDERS[name].Config.model_validate(simulated.settings()))
    simulated.create()
    outcomes = [
        run(provider.cancel(link_id, NOW), simulated.respond)[0].outcome
        for link_id in ("no-such", "link-1", "link-1")
    ]
    assert outcomes == ["NOT_KNOWN", "DONE", "REFUSED"]
    _, *ends = [body["status"].lower() for body in json_bodies(simulated.callbacks())]
    assert ends == ["cancelled"]
