"""Cancels a link at its provider, when a person asks for it.

It changes no status: the callback and the lookup that follow do, as for any cancellation. The topic
`notices` keeps who asked, when, and what the provider answered.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

import httpx

from connectors.board.http.refusal import Refused
from connectors.clock import micros_now
from connectors.http.client import FETCH_ERRORS, RequestCoalescer, http_client, run_exchange
from connectors.masking import masked_body
from connectors.providers.base import Provider, RetryableApiError
from connectors.providers.cancel_api import CancelApi, Outcome, Verdict
from connectors.triage import audit
from schemas.records import LinkStatus, Notice, Status

log = logging.getLogger(__name__)

_OPEN: frozenset[Status] = frozenset({"CREATED", "OPENED", "PROCESSING"})
_MEANINGS: dict[Outcome, str] = {
    "DONE": "it is cancelled; the status here follows with the callback or the next lookup",
    "REFUSED": "it cannot be cancelled",
    "NOT_KNOWN": "there is no such link",
    "LATER": "not now, try again later",
}
_RECENT_MICROS = 600 * 1_000_000
_MOST_KEPT = 1000


class Cancellation(NamedTuple):
    """What the provider answered. `recorded`: whether `notices` keeps it."""

    by: str
    at: int
    outcome: Outcome
    message: str
    recorded: bool = True

    @property
    def meaning(self) -> str:
        return _MEANINGS[self.outcome]


class Cancellations:
    """Calls the providers whose API can cancel links. `publish` keeps a notice, or raises."""

    def __init__(
        self, providers: Mapping[str, Provider], seconds: float, publish: Callable[[Notice], None]
    ) -> None:
        self._apis: dict[str, CancelApi] = {
            name: provider
            for name, provider in providers.items()
            if isinstance(provider, CancelApi) and provider.can_look_up()
        }
        self._seconds = seconds
        self._publish = publish
        self._requests = RequestCoalescer()
        self._running: set[tuple[str, str]] = set()
        self._latest: dict[tuple[str, str], Cancellation] = {}

    def why_not(self, link: LinkStatus) -> str | None:
        """Why the link cannot be cancelled from here, or None."""
        provider = link["provider"]
        if provider not in self._apis:
            return f"{provider} offers no way to cancel a link, or its credentials are not set"
        if link["status"] not in _OPEN:
            return f"the link is {link['status'].lower()} already"
        return None

    def latest(self, link: LinkStatus) -> Cancellation | None:
        """The latest cancellation of the last ten minutes."""
        latest = self._latest.get((link["provider"], link["link_id"]))
        return latest if latest and micros_now() - latest.at < _RECENT_MICROS else None

    async def cancel(self, link: LinkStatus, by: str) -> Cancellation:
        """Ask the provider once. Raises Refused while another request cancels the link."""
        name = (link["provider"], link["link_id"])
        if name in self._running:
            raise Refused("another request cancels the link already")
        self._running.add(name)
        try:
            log.info("cancelling %s of %s for %r", link["link_id"], link["provider"], by)
            at = micros_now()
            outcome, message = await self._call(*name, at)
            answer = Cancellation(by, at, outcome, _masked(message))
            recorded = await asyncio.to_thread(self._record, link, answer)
        finally:
            self._running.discard(name)
        self._latest.pop(name, None)
        self._latest[name] = answer._replace(recorded=recorded)
        if len(self._latest) > _MOST_KEPT:
            del self._latest[next(iter(self._latest))]
        return self._latest[name]

    async def _call(self, provider: str, link_id: str, now: int) -> Verdict:
        try:
            async with http_client(self._seconds) as client:
                exchange = self._apis[provider].cancel(link_id, now)
                return await run_exchange(client, exchange, self._requests)
        except RetryableApiError as error:
            return Verdict("LATER", str(error))
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            log.warning("%s: %r", provider, error)
            return Verdict("LATER", "the provider could not be reached")
        except FETCH_ERRORS as error:
            log.warning("%s: %r", provider, error)
            return Verdict("LATER", "no complete answer came; the link may be cancelled anyway")

    def _record(self, link: LinkStatus, answer: Cancellation) -> bool:
        attributes = {"by": answer.by, "answer": answer.message}
        name, status = (link["provider"], link["link_id"]), answer.outcome.lower()
        try:
            self._publish(
                audit.action(audit.CANCEL_REQUESTED, *name, status, answer.at, attributes)
            )
        except Exception as error:
            # No failure here may hide what the provider did.
            log.error("%s of %s for %r: %r", link["link_id"], link["provider"], answer.by, error)
            return False
        return True


def _masked(message: str) -> str:
    # A JSON escape can be half a character, which no text can hold.
    return masked_body(message.encode(errors="replace")).decode()
