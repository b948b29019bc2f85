"""Key sets that providers publish for their signatures, fetched once and kept."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import httpx
import orjson
from prometheus_client import Counter

from connectors.outward import TooMuch, fetch
from connectors.provider import ApiRequest

log = logging.getLogger(__name__)

_FETCHES = Counter("linkstatus_key_fetches_total", "Fetches of a provider's key set", ["outcome"])


def _is_key_set(body: bytes) -> bool:
    """RFC 7517 §5. A page that somebody in between puts in its place must not end good keys."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(told, dict) and isinstance(told.get("keys"), list)


class NoKeys(Exception):
    """The key set cannot be had now, so no signature can be judged now."""


class KeySource(Protocol):
    """What the edge needs of `KeySets`."""

    async def known(self, url: str) -> bytes: ...

    async def fresh(self, url: str) -> bytes: ...


@dataclass(slots=True)
class _KeySet:
    text: bytes | None = None
    fetched_at: float = float("-inf")
    tried_at: float = float("-inf")
    failed: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class KeySets:
    """Key sets by url. The urls come from the provider's own allow-list, never from the sender
    alone.
    """

    # A key the provider withdrew is trusted no longer than this, unless it cannot be asked.
    KEEP_SECONDS = 1800.0
    # So that forged key ids cannot make us hammer the provider.
    REFETCH_SECONDS = 10.0
    RETRY_SECONDS = 1.0

    def __init__(
        self, client: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._clock = clock
        self._sets: dict[str, _KeySet] = {}

    async def known(self, url: str) -> bytes:
        """The key set, fetched if there is none or it is old. Raises NoKeys."""
        keys = await self._get(url, self.KEEP_SECONDS)
        if keys.text is None:
            raise NoKeys(url)
        return keys.text

    async def fresh(self, url: str) -> bytes:
        """The key set, fetched again unless that was just done: for a key id it does not hold.
        Raises NoKeys.
        """
        keys = await self._get(url, self.REFETCH_SECONDS)
        # An old set lacks the key id: after a failed fetch nobody can tell whether it is forged.
        if keys.text is None or keys.failed:
            raise NoKeys(url)
        return keys.text

    async def _get(self, url: str, oldest: float) -> _KeySet:
        keys = self._sets.setdefault(url, _KeySet())
        # Whose keys are here waits for no fetch: else forged key ids and a provider that is slow to
        # answer would hold up all callbacks.
        if self._clock() - keys.fetched_at < oldest:
            return keys
        async with keys.turn:
            pause = self.RETRY_SECONDS if keys.failed else self.REFETCH_SECONDS
            now = self._clock()
            if now - keys.fetched_at >= oldest and now - keys.tried_at >= pause:
                await self._fetch(url, keys)
        return keys

    async def _fetch(self, url: str, keys: _KeySet) -> None:
        keys.tried_at = self._clock()
        keys.failed = True
        try:
            response = await fetch(self._client, ApiRequest("GET", url))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, TooMuch) as error:
            log.warning("cannot fetch the keys at %s: %r", url, error)
        else:
            if response.status == 200 and _is_key_set(response.body):
                keys.text, keys.fetched_at, keys.failed = response.body, self._clock(), False
            else:
                log.warning("no keys at %s: answer %s", url, response.status)
        _FETCHES.labels("failed" if keys.failed else "fetched").inc()
