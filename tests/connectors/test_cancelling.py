"""Cancelling a link at the providers whose API does it: the requests, what each answer means."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from connectors.cancel_api import CancelApi, Outcome, Verdict, judge
from connectors.peach import Peach, PeachConfig
from connectors.ping import Ping, PingConfig
from connectors.provider import ApiRequest, ApiResponse, LookupRefused
from connectors.registry import PROVIDERS
from connectors.sandbox.simulator import NewLink
from tests.connectors.sandboxes import NOW, SECOND, Simulated, said

CANCELLING = sorted(name for name, kind in PROVIDERS.items() if issubclass(kind, CancelApi))
PING = Ping(PingConfig.model_validate({"tenant_id": "a tenant", "api_secret": "s3cret"}))
TOKEN = ApiResponse(200, b'{"access_token": "a-token", "expires_in": 300}')
FORBIDDEN = b'{"errors": [{"error": "operation_forbidden", "description": "it is CANCELLED"}]}'
ONE_DAY = 86_400 * SECOND


def peach() -> Peach:
    credentials = {"client_id": "me", "client_secret": "s3cret", "merchant_id": "m"}
    return Peach(PeachConfig.model_validate(credentials))


def ask(
    provider: CancelApi,
    answers: Callable[[ApiRequest], ApiResponse],
    link_id: str = "a/link?",
    now: int = NOW,
) -> tuple[Verdict, list[ApiRequest]]:
    """Cancels against `answers`; also tells the requests it made."""
    cancelling = provider.cancel(link_id, now)
    made = [next(cancelling)]
    while True:
        try:
            made.append(cancelling.send(answers(made[-1])))
        except StopIteration as stop:
            return stop.value, made


def test_who_offers_it() -> None:
    assert CANCELLING == ["peach", "ping"]


def test_ping_is_put_an_empty_object() -> None:
    verdict, made = ask(PING, lambda _: ApiResponse(204))
    url = (
        "https://production.pingpayments.com/payment_links/api/v1/payment_links/a%2Flink%3F/cancel"
    )
    headers = {
        "accept": "application/json",
        "content-type": "application/json",
        "tenant_id": "a tenant",
        "x-api-secret": "s3cret",
    }
    assert made == [ApiRequest("PUT", url, headers, b"{}")]
    assert verdict == Verdict("DONE", "204")


def test_peach_is_sent_a_delete_with_a_token() -> None:
    verdict, made = ask(peach(), lambda r: TOKEN if r.method == "POST" else ApiResponse(200, b"{}"))
    headers = {"accept": "application/json", "authorization": "Bearer a-token"}
    url = "https://links.peachpayments.com/api/payments/a%2Flink%3F"
    assert made[0].url == "https://dashboard.peachpayments.com/api/oauth/token"
    assert made[1:] == [ApiRequest("DELETE", url, headers, b"")]
    assert verdict.outcome == "DONE"


def test_peach_s_withdrawn_token_is_replaced_and_nothing_else_is_repeated() -> None:
    provider = peach()
    ask(provider, lambda r: TOKEN if r.method == "POST" else ApiResponse(200))
    refusals = [ApiResponse(401)]

    def api(request: ApiRequest) -> ApiResponse:
        if request.method == "POST":
            return TOKEN
        return refusals.pop() if refusals else ApiResponse(400, b'{"message": "Payment is paid"}')

    verdict, made = ask(provider, api)
    assert [request.method for request in made] == ["DELETE", "POST", "DELETE"]
    assert verdict == Verdict("REFUSED", "400 Payment is paid")


def test_without_a_token_nothing_is_cancelled() -> None:
    with pytest.raises(LookupRefused, match="token endpoint answered 401"):
        ask(peach(), lambda _: ApiResponse(401))


@pytest.mark.parametrize(
    ("status", "body", "outcome", "words"),
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
        (429, b'"slowly"', "LATER", "429 slowly"),
        (500, b"\xff", "LATER", "500 \ufffd"),
        (503, b"[" * 100_000, "LATER", "503 " + 500 * "["),
    ],
)
def test_what_an_answer_means(status: int, body: bytes, outcome: Outcome, words: str) -> None:
    assert judge(ApiResponse(status, body)) == Verdict(outcome, words)


@pytest.mark.parametrize("name", CANCELLING)
@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 403, 404, 409, 429, 500])
def test_only_an_explicit_success_is_one(name: str, status: int) -> None:
    provider: Any = PROVIDERS[name](PROVIDERS[name].Config())
    assert not provider.can_look_up()
    verdict, made = ask(
        provider, lambda r: TOKEN if r.method == "POST" else ApiResponse(status), "../other"
    )
    assert all("/../" not in request.url for request in made)
    assert (verdict.outcome == "DONE") == (200 <= status < 300)


class Simulation:
    """A provider and its simulation, as its own settings bring them together."""

    def __init__(self, name: str) -> None:
        self.simulated = Simulated(name)
        kind = PROVIDERS[name]
        environment = self.simulated.sandbox.environment(self.simulated.site)
        given = {
            n.lower(): json.loads(v) if v.startswith("[") else v for n, v in environment.items()
        }
        self.provider: Any = kind(kind.Config.model_validate(given))
        self.create = self.simulated.sandbox.create
        self.move = self.simulated.sandbox.move

    def cancel(self, link_id: str, now: int = NOW) -> Outcome:
        def answer(request: ApiRequest) -> ApiResponse:
            _, _, path = request.url.removeprefix(self.simulated.site.base_url + "/").partition("/")
            local = ApiRequest(request.method, f"/{path}", request.headers, request.body)
            return self.simulated.sandbox.answer(local, now)

        return ask(self.provider, answer, link_id, now)[0].outcome

    def told(self) -> list[str]:
        return [body["status"].lower() for body in said(self.simulated.owed())]


@pytest.mark.parametrize("name", CANCELLING)
def test_the_simulated_provider_cancels_once_and_calls_back(name: str) -> None:
    simulation = Simulation(name)
    simulation.create(NewLink("l-1", 1000, "SEK"), NOW)
    simulation.told()
    assert simulation.cancel("no-such") == "NOT_KNOWN"
    assert simulation.told() == []
    assert simulation.cancel("l-1") == "DONE"
    assert simulation.told() == ["cancelled"]
    assert simulation.cancel("l-1") == "REFUSED"
    assert simulation.told() == []


@pytest.mark.parametrize(
    ("name", "word"),
    [("ping", "COMPLETED"), ("ping", "EXPIRED"), ("peach", "processing"), ("peach", "completed")],
)
def test_the_simulated_provider_refuses_what_its_documents_do(name: str, word: str) -> None:
    simulation = Simulation(name)
    simulation.create(NewLink("l-1", 1000, "SEK"), NOW)
    simulation.move("l-1", word, NOW)
    simulation.told()
    assert simulation.cancel("l-1") == "REFUSED"
    assert simulation.told() == []


def test_the_simulated_peach_cancels_nothing_that_has_expired() -> None:
    simulation = Simulation("peach")
    simulation.create(NewLink("l-1", 1000, "ZAR"), NOW)
    later = NOW + 31 * ONE_DAY
    simulation.simulated.sandbox.woken("l-1", later)
    assert simulation.cancel("l-1", later) == "REFUSED"
