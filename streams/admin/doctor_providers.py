"""The doctor's checks of the providers: ask each API about a link that does not exist, and compare
our clock with the times in the answers.
"""

import asyncio
import statistics
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from connectors.clock import micros_now
from connectors.http.access import is_loopback
from connectors.http.client import FETCH_ERRORS, RequestCoalescer, fetch, http_client
from connectors.http.retry_queue import CallFailed
from connectors.lookup.executor import look_up
from connectors.providers import examples
from connectors.providers.base import (
    ApiRequest,
    BadSignature,
    Inbound,
    KeysNeeded,
    Provider,
    ProviderConfig,
    RetryableApiError,
)
from connectors.reasons import reason_of
from schemas.records import LookupRequest
from streams.admin.finding import Finding, note, ok, wrong
from streams.settings import Settings

# The header is cut to a second, and the answer took some time.
_CLOCK_SECONDS = 5.0
_REFUSED = frozenset({400, 401, 403})


class Clocks:
    """How far this machine's clock is ahead of the clocks of the servers that answered. `now`:
    seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._ahead: list[float] = []

    async def read(self, response: httpx.Response) -> None:
        """Read the `Date` header, as a hook of an HTTP client. Servers on this machine are left
        out: they have its clock.
        """
        if is_loopback(response.request.url.host):
            return
        try:
            theirs = parsedate_to_datetime(response.headers["date"])
        except (KeyError, ValueError):
            return
        # The header is cut to the second: on average half a second is missing.
        true = theirs.replace(tzinfo=theirs.tzinfo or UTC).timestamp() + 0.5
        self._ahead.append(self._now() - true)

    def finding(self) -> Finding:
        if not self._ahead:
            return note("clock", "not compared: no server outside this machine answered")
        ahead = statistics.median(self._ahead)
        if abs(ahead) <= _CLOCK_SECONDS:
            return ok("clock", f"right to {_CLOCK_SECONDS:.0f} s, by {len(self._ahead)} answers")
        direction = "ahead of" if ahead > 0 else "behind"
        here = f"it is {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC here"
        message = f"{abs(ahead):.0f} s {direction} the servers that answered; {here}; set it by NTP"
        return wrong("clock", message)


async def examine(settings: Settings, call: bool, clocks: Clocks) -> list[Finding]:
    """One finding or more for each account at a provider; `call`: ask its API."""
    async with http_client(settings.lookups.timeout_seconds) as client:
        client.event_hooks = {"response": [clocks.read]}
        checks = (
            _provider(client, settings, provider, call)
            for provider in settings.existing_providers().values()
        )
        findings = [finding for found in await asyncio.gather(*checks) for finding in found]
    return [*_accounts(settings.existing_providers()), *findings]


def _accounts(providers: Mapping[str, Provider]) -> Iterator[Finding]:
    """Name the providers of the further accounts; report two that are one account."""
    further = [f"{name} at {one.kind}" for name, one in providers.items() if name != one.kind]
    if further:
        yield ok("accounts", ", ".join(further))
    known: dict[Any, str] = {}
    for name, provider in providers.items():
        credentials = tuple(getattr(provider.config, field) for field in provider.CREDENTIALS)
        if all(credentials):
            other = known.setdefault((provider.kind, credentials), name)
            if other != name:
                variables = _variables(name, provider.CREDENTIALS)
                yield wrong(name, f"has the same credentials as {other}", *variables)


async def _provider(
    client: httpx.AsyncClient, settings: Settings, provider: Provider, call: bool
) -> list[Finding]:
    name = provider.name
    config = settings.provider_config(name)
    if not config.model_fields_set:
        return [_missing(provider)]
    findings = [await _keys(client, provider, getattr(config, "jku", None))] if call else []
    if not provider.can_look_up():
        findings.append(_missing(provider))
    elif call:
        findings.append(await _api(client, provider, config))
    else:
        findings.append(ok(name, "credentials are set; not tried"))
    if (message := _needs_token(provider)) and not config.path_token:
        findings.append(note(name, message, f"{name.upper()}__PATH_TOKEN"))
    return [finding for finding in findings if finding is not None]


async def _keys(client: httpx.AsyncClient, provider: Provider, url: str | None) -> Finding | None:
    """None if the server at the URL has the keys for the provider's signatures, or needs none."""
    if url is None:
        return None
    try:
        answer = await fetch(client, ApiRequest("GET", url))
        if answer.status == httpx.codes.OK and b'"keys"' in answer.body:
            return None
        problem = f"answers {answer.status}, without keys"
    except FETCH_ERRORS as error:
        problem = f"does not answer: {reason_of(error)}"
    message = f"{url} {problem}; the edge refuses every callback without them"
    return wrong(provider.name, message, *_variables(provider.name, ["jku"]))


def _needs_token(provider: Provider) -> str | None:
    """Why the callback URL of the provider needs a token; None if signatures prove callbacks."""
    if provider.signs_for_all:
        return (
            "its signature is the same for all its customers, and the callback URL has no token: "
            "a link that was not registered counts only after a lookup"
        )
    try:
        for one in examples.names(provider.kind):
            body = examples.body(provider.kind, one)
            provider.authenticate(Inbound("/", {}, body), None, 0)
    except (BadSignature, KeysNeeded):
        return None
    return "its callbacks have no signature, and their URL has no token"


def _missing(provider: Provider) -> Finding:
    """The missing credentials: to set only some is a mistake, to set none is a choice."""
    name, needed = provider.name, provider.CREDENTIALS
    missing = [field for field in needed if not getattr(provider.config, field)]
    variables = _variables(name, missing)
    if len(missing) < len(needed):
        return wrong(name, "its API needs more credentials", *variables)
    return note(name, "no lookups at its API: an unsigned callback stays a claim", *variables)


async def _api(client: httpx.AsyncClient, provider: Provider, config: ProviderConfig) -> Finding:
    """Whether the API accepts the credentials."""
    name, urls = provider.name, _url_settings(provider)
    credentials = _variables(name, provider.CREDENTIALS)
    try:
        await look_up(provider, client, _request(name), RequestCoalescer())
    except CallFailed as error:
        cause = error.__cause__
        if not isinstance(cause, RetryableApiError):
            message = f"its API does not answer: {reason_of(cause or error)}"
            return wrong(name, message, *_variables(name, urls))
        if cause.response.status in _REFUSED:
            message = f"{getattr(config, urls[0])} refuses the credentials: {error}"
            return wrong(name, message, *credentials, *_variables(name, urls[:1]))
        return wrong(name, f"its API is in trouble: {error}; try later")
    except (ValueError, httpx.InvalidURL) as error:
        return wrong(name, f"its API cannot be called: {reason_of(error)}", *_variables(name, urls))
    return ok(name, f"{getattr(config, urls[0])} accepts the credentials")


def _request(name: str) -> LookupRequest:
    """A lookup of a link that does not exist."""
    return {
        "request_id": "doctor",
        "provider": name,
        "link_id": str(uuid.uuid4()),
        "reason": "DETAILS",
        "claimed_status": None,
        "payment_id": None,
        "refund": None,
        "issued": True,
        "requested_at": micros_now(),
    }


def _url_settings(provider: Provider) -> list[str]:
    """The settings with the URLs of its API."""
    fields = provider.Config.model_fields
    return [f for f in fields if f.endswith("_url") and fields[f].default is not None]


def _variables(name: str, fields: Iterable[str]) -> list[str]:
    return [f"{name.upper()}__{field.upper()}" for field in fields]
