"""Looks at the providers' credentials, by asking each API about a link that never was, and at our
clock, by the times in what is answered.
"""

import asyncio
import statistics
import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from pydantic import SecretStr

from connectors import examples
from connectors.clock import micros_now
from connectors.lane import CallFailed
from connectors.lookup.answers import ask
from connectors.loopback import is_loopback
from connectors.outward import Shared, TooMuch, fetch, http_client
from connectors.provider import (
    ApiRequest,
    BadSignature,
    Inbound,
    KeysNeeded,
    LookupRefused,
    Provider,
    ProviderConfig,
)
from connectors.registry import PROVIDERS
from schemas.records import LookupRequest
from streams.finding import Finding, note, ok, wrong
from streams.settings import Settings

# A header names a whole second, and the answer was some time on its way.
_CLOCK_SECONDS = 5.0
_REFUSED = frozenset({400, 401, 403})


def now() -> float:
    """This machine's clock: seconds since the epoch."""
    return time.time()


class Clocks:
    """How far this machine's clock is ahead of those that answered."""

    def __init__(self) -> None:
        self._ahead: list[float] = []

    def read(self, response: httpx.Response) -> None:
        """Takes the time in the `Date` header, as a hook of an HTTP client. What runs on this
        machine has its clock.
        """
        if is_loopback(response.request.url.host):
            return
        try:
            theirs = parsedate_to_datetime(response.headers["date"])
        except (KeyError, ValueError):
            return
        # It was cut to the second.
        self._ahead.append(now() - theirs.replace(tzinfo=theirs.tzinfo or UTC).timestamp() - 0.5)

    async def read_async(self, response: httpx.Response) -> None:
        self.read(response)

    def finding(self) -> Finding:
        if not self._ahead:
            return note("clock", "compared with nothing: nobody outside this machine was asked")
        ahead = statistics.median(self._ahead)
        if abs(ahead) <= _CLOCK_SECONDS:
            return ok("clock", f"right to {_CLOCK_SECONDS:.0f} s, by {len(self._ahead)} answers")
        which = "ahead of" if ahead > 0 else "behind"
        said = f"{abs(ahead):.0f} s {which} those that answered; set it by NTP"
        return wrong("clock", f"{said}, it is now {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC here")


async def examine(settings: Settings, ask_them: bool, clocks: Clocks) -> list[Finding]:
    """One finding or more for each provider."""
    async with http_client(settings.lookups.timeout_seconds) as client:
        client.event_hooks = {"response": [clocks.read_async]}
        look = (
            _look(client, settings, provider, ask_them)
            for provider in settings.providers().values()
        )
        return [finding for found in await asyncio.gather(*look) for finding in found]


async def _look(
    client: httpx.AsyncClient, settings: Settings, provider: Provider, ask_them: bool
) -> list[Finding]:
    name = provider.name
    config = settings.provider_config(name)
    if not config.model_fields_set:
        return [_unset(config, name)]
    found = [await _keys(client, provider, getattr(config, "jku", None))] if ask_them else []
    if not provider.can_look_up():
        found.append(_unset(config, name))
    elif ask_them:
        found.append(await _asked(client, provider, config))
    else:
        found.append(ok(name, "credentials are set; not asked"))
    if _takes_unsigned(provider) and not config.path_token:
        said = "its callbacks are not signed, and their URL holds no token"
        found.append(note(name, said, f"{name.upper()}__PATH_TOKEN"))
    return [one for one in found if one is not None]


async def _keys(client: httpx.AsyncClient, provider: Provider, url: str | None) -> Finding | None:
    """Whether the keys that its signatures are judged with can be had."""
    if url is None:
        return None
    try:
        answer = await fetch(client, ApiRequest("GET", url))
        if answer.status == httpx.codes.OK and b'"keys"' in answer.body:
            return None
        said = f"answers {answer.status}, without keys"
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, TooMuch) as error:
        said = f"is not reached: {error!r}"
    name = provider.name
    return wrong(name, f"{url} {said}: every callback would be refused", f"{name.upper()}__JKU")


def _takes_unsigned(provider: Provider) -> bool:
    """Whether all of its own examples pass without a signature."""
    bodies = [examples.body(provider.name, one) for one in examples.names(provider.name)]
    try:
        for body in bodies:
            provider.authenticate(Inbound("/", {}, body), None, 0)
    except (BadSignature, KeysNeeded):
        return False
    return True


def _unset(config: ProviderConfig, name: str) -> Finding:
    """Says which credentials are missing: some is a mistake, all of them is a choice."""
    needed = list(_needed(name))
    missing = [field for field in needed if not getattr(config, field)]
    names = _named(name, missing)
    if len(missing) < len(needed):
        return wrong(name, "its API needs more than what is set", *names)
    return note(name, "its API is not asked: what is not signed stays a claim", *names)


def _needed(name: str) -> Iterator[str]:
    """The settings without which the provider's API cannot be asked, found by leaving each out."""
    kind = PROVIDERS[name]
    texts = {field for field, info in kind.Config.model_fields.items() if info.default is None}
    whole = dict.fromkeys(texts, SecretStr("x"))
    for field in kind.Config.model_fields:
        if field in texts:
            config = kind.Config.model_construct(**{**whole, field: None})  # type: ignore[arg-type]
            if not kind(config).can_look_up():
                yield field


async def _asked(client: httpx.AsyncClient, provider: Provider, config: ProviderConfig) -> Finding:
    """Whether the API takes the credentials."""
    name, urls = provider.name, _urls(provider)
    credentials = _named(name, _needed(name))
    try:
        await ask(provider, client, _question(name), Shared())
    except CallFailed as error:
        refused = error.__cause__
        if isinstance(refused, LookupRefused):
            if refused.response.status in _REFUSED:
                return wrong(name, f"refuses the credentials: {error}", *credentials)
            return wrong(name, f"its API is in trouble: {error}; try later")
        return wrong(name, f"its API is not reached: {error}", *_named(name, urls))
    except (ValueError, httpx.InvalidURL) as error:
        return wrong(name, f"its API cannot be asked: {error!r}", *_named(name, urls))
    return ok(name, f"{getattr(config, urls[0])} takes the credentials")


def _question(name: str) -> LookupRequest:
    return {
        "request_id": "doctor",
        "provider": name,
        "link_id": str(uuid.uuid4()),
        "reason": "DETAILS",
        "claimed_status": None,
        "payment_id": None,
        "issued": True,
        "requested_at": micros_now(),
    }


def _urls(provider: Provider) -> list[str]:
    """The settings that say where its API is."""
    fields = provider.Config.model_fields
    return [f for f in fields if f.endswith("_url") and fields[f].default is not None]


def _named(name: str, fields: Iterable[str]) -> list[str]:
    return [f"{name.upper()}__{field.upper()}" for field in fields]
