"""Lookups and cancellations against scripted API responses, and providers with credentials."""

from collections.abc import Callable, Generator
from typing import TypeVar

from connectors.providers.base import Answer, ApiRequest, ApiResponse, Provider
from connectors.providers.ipint import IPint, IPintConfig
from connectors.providers.peach import Peach, PeachConfig
from connectors.providers.ping import Ping, PingConfig
from connectors.providers.truelayer import TrueLayer, TrueLayerConfig
from schemas.records import LookupRequest

NOW = 1_700_000_000_000_000
SECOND = 1_000_000
# An id that must be escaped in a URL.
LINK_ID = "a/link?"
TOKEN = ApiResponse(200, b'{"access_token": "a-token", "expires_in": 300}')

Respond = Callable[[ApiRequest], ApiResponse]
Result = TypeVar("Result")


def ping() -> Ping:
    return Ping(PingConfig.model_validate({"tenant_id": "a tenant", "api_secret": "s3cret"}))


def peach() -> Peach:
    credentials = {"client_id": "me", "client_secret": "s3cret", "merchant_id": "m"}
    return Peach(PeachConfig.model_validate(credentials))


def truelayer(secret: str = "s3cret") -> TrueLayer:
    return TrueLayer(TrueLayerConfig.model_validate({"client_id": "me", "client_secret": secret}))


def ipint() -> IPint:
    return IPint(IPintConfig.model_validate({"api_key": "key", "api_secret": "s3cret"}))


def request(provider: str, link_id: str = LINK_ID) -> LookupRequest:
    return {
        "request_id": "1",
        "provider": provider,
        "link_id": link_id,
        "reason": "CLAIM",
        "claimed_status": "PAID",
        "payment_id": None,
        "refund": None,
        "issued": True,
        "requested_at": NOW,
    }


def run(
    exchange: Generator[ApiRequest, ApiResponse, Result], respond: Respond
) -> tuple[Result, list[ApiRequest]]:
    """Return the result of an exchange and the requests that it sent."""
    sent = [next(exchange)]
    while True:
        try:
            sent.append(exchange.send(respond(sent[-1])))
        except StopIteration as stop:
            return stop.value, sent


def look_up(
    provider: Provider, respond: Respond, now: int = NOW, link_id: str = LINK_ID
) -> tuple[Answer, list[ApiRequest]]:
    return run(provider.lookup(request(provider.name, link_id), now), respond)


def with_token(response: ApiResponse, token: ApiResponse = TOKEN) -> Respond:
    """Respond to a token request with `token`, and to all others with `response`."""
    return lambda api_request: token if api_request.method == "POST" else response
