"""Key sets that providers publish for their signatures; the edge fetches and keeps them."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import httpx
import orjson
from prometheus_client import Counter

from connectors.http.client import FETCH_ERRORS, fetch
from connectors.providers.base import ApiRequest
from schemas.limits import KEY_SET_SECONDS, KEY_SET_WAITERS

log = logging.getLogger(__name__)

_FETCHES = Counter("linkstatus_key_fetches_total", "Fetches of a provider's key set", ["outcome"])


def _is_key_set(body: bytes) -> bool:
    """Return whether it is one by RFC 7517 §5. An error page must not replace good keys."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(content, dict) and isinstance(content.get("keys"), list)


class NoKeys(Exception):
    """The key set is not available now, so the edge cannot check signatures now."""


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
    waiting: int = 0
    fetch: asyncio.Task[None] | None = None


class KeySets:
    """Key sets by URL. The URLs come from the provider's allow-list, not from the sender alone."""

    # The edge trusts a withdrawn key no longer than this, unless the provider does not answer.
    KEEP_SECONDS = 1800.0
    # Forged key ids must not make us call the provider more often.
    REFETCH_SECONDS = 10.0
    RETRY_SECONDS = 1.0

    def __init__(self, client: httpx.AsyncClient, clock: Callable[[], float] | None = None) -> None:
        """`clock` replaces that of the event loop."""
        self._client = client
        self._clock = clock or asyncio.get_running_loop().time
        self._sets: dict[str, _KeySet] = {}

    async def known(self, url: str) -> bytes:
        """Return the key set; fetch it if there is none or it is old. Raises NoKeys."""
        keys = await self._get(url, self.KEEP_SECONDS)
        if keys.text is None:
            raise NoKeys(url)
        return keys.text

    async def fresh(self, url: str) -> bytes:
        """Return the key set for a key id that it lacked: fetch it again, but not too often. Raises
        NoKeys.
        """
        keys = await self._get(url, self.REFETCH_SECONDS)
        # After a failed fetch the key id may be forged or new: the edge cannot know.
        if keys.text is None or keys.failed:
            raise NoKeys(url)
        return keys.text

    async def _get(self, url: str, oldest: float) -> _KeySet:
        keys = self._sets.setdefault(url, _KeySet())
        # A callback whose keys are here waits for no fetch: otherwise forged key ids and a slow
        # provider would delay all callbacks.
        now = self._clock()
        if now - keys.fetched_at < oldest:
            return keys
        pause = self.RETRY_SECONDS if keys.failed else self.REFETCH_SECONDS
        if keys.fetch is None and now - keys.tried_at >= pause:
            keys.fetch = asyncio.create_task(self._fetch(url, keys))
        if keys.fetch is not None and keys.waiting < KEY_SET_WAITERS:
            keys.waiting += 1
            try:
                await asyncio.wait([keys.fetch], timeout=KEY_SET_SECONDS)
            finally:
                keys.waiting -= 1
        return keys

    async def _fetch(self, url: str, keys: _KeySet) -> None:
        keys.tried_at = self._clock()
        keys.failed = True
        try:
            response = await fetch(self._client, ApiRequest("GET", url))
            if response.status == 200 and _is_key_set(response.body):
                keys.text, keys.fetched_at, keys.failed = response.body, self._clock(), False
            else:
                log.warning("no keys at %s: answer %s", url, response.status)
        except FETCH_ERRORS as error:
            log.warning("cannot fetch the keys at %s: %r", url, error)
        finally:
            keys.fetch = None
            _FETCHES.labels("failed" if keys.failed else "fetched").inc()
