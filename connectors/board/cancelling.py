"""Cancelling a link at its provider, because a person asked for it.

It changes no status here: the callback and the lookup that follow do, as for any cancellation. Who
asked, when, and what the provider answered is kept on the topic `notices`.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

import httpx

from connectors import noting
from connectors.board.present import masked_body
from connectors.cancel_api import CancelApi, Outcome, Verdict
from connectors.clock import micros_now
from connectors.outward import Shared, TooMuch, converse, http_client
from connectors.provider import LookupRefused, Provider
from schemas.records import LinkStatus, Notice, Status

log = logging.getLogger(__name__)

_OPEN: frozenset[Status] = frozenset({"CREATED", "OPENED", "PROCESSING"})
_MEANS: dict[Outcome, str] = {
    "DONE": "it is cancelled; the status here follows with the callback or the next lookup",
    "REFUSED": "it cannot be cancelled",
    "NOT_KNOWN": "there is no such link",
    "LATER": "not now, try again later",
}
_TOLD_MICROS = 600 * 1_000_000
_MOST_TOLD = 1000


class Busy(Exception):
    """The same link is being cancelled already."""


class Told(NamedTuple):
    """What became of it. `noted`: whether that is on `notices`."""

    by: str
    at: int
    outcome: Outcome
    said: str
    noted: bool = True

    @property
    def means(self) -> str:
        return _MEANS[self.outcome]

    @property
    def worth_telling(self) -> bool:
        return micros_now() - self.at < _TOLD_MICROS


class Cancels:
    """Asks the providers whose API can do it. `keep` keeps the note, or raises."""

    def __init__(
        self, providers: Mapping[str, Provider], seconds: float, keep: Callable[[Notice], None]
    ) -> None:
        self._apis: dict[str, CancelApi] = {
            name: provider
            for name, provider in providers.items()
            if isinstance(provider, CancelApi) and provider.can_look_up()
        }
        self._seconds = seconds
        self._keep = keep
        self._shared = Shared()
        self._under_way: set[tuple[str, str]] = set()
        self._told: dict[tuple[str, str], Told] = {}

    def why_not(self, link: LinkStatus) -> str | None:
        """Why nobody can ask for it, or None."""
        if link["provider"] not in self._apis:
            return (
                f"{link['provider']} offers no way to cancel a link, or its credentials are not set"
            )
        if link["status"] not in _OPEN:
            return f"the link is {link['status'].lower()} already"
        return None

    def latest(self, link: LinkStatus) -> Told | None:
        """What became of it a while ago."""
        told = self._told.get((link["provider"], link["link_id"]))
        return told if told and told.worth_telling else None

    async def cancel(self, link: LinkStatus, by: str) -> Told:
        """Asks the provider once. Raises Busy."""
        name = (link["provider"], link["link_id"])
        if name in self._under_way:
            raise Busy
        self._under_way.add(name)
        try:
            log.info("cancelling %s of %s for %r", link["link_id"], link["provider"], by)
            at = micros_now()
            outcome, said = await self._ask(*name, at)
            told = Told(by, at, outcome, _shown(said))
            told = told._replace(noted=await asyncio.to_thread(self._note, link, told))
        finally:
            self._under_way.discard(name)
        self._told.pop(name, None)
        self._told[name] = told
        if len(self._told) > _MOST_TOLD:
            del self._told[next(iter(self._told))]
        return told

    async def _ask(self, provider: str, link_id: str, now: int) -> Verdict:
        try:
            async with http_client(self._seconds) as client:
                asking = self._apis[provider].cancel(link_id, now)
                return await converse(client, asking, self._shared)
        except LookupRefused as error:
            return Verdict("LATER", str(error))
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            log.warning("%s: %r", provider, error)
            return Verdict("LATER", "it could not be reached")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, TooMuch) as error:
            log.warning("%s: %r", provider, error)
            return Verdict("LATER", "no whole answer came: it may be cancelled all the same")

    def _note(self, link: LinkStatus, told: Told) -> bool:
        try:
            self._keep(_notice(link, told))
        except Exception as error:
            # Whatever it is, it must not hide what was done.
            log.error("%s of %s for %r: %r", link["link_id"], link["provider"], told.by, error)
            return False
        return True


def _shown(said: str) -> str:
    # An escape in JSON can be half a character, which no text can hold.
    return masked_body(said.encode(errors="replace")).decode()


def _notice(link: LinkStatus, told: Told) -> Notice:
    words = {"by": told.by, "answer": told.said}
    name = link["provider"], link["link_id"]
    return noting.notice(noting.CANCEL, *name, told.outcome.lower(), told.at, words)
