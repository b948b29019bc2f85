"""The delivery of callbacks: signed for each attempt, repeated until acknowledged."""

import asyncio
import logging
import random
from collections.abc import Mapping

import httpx

from connectors.clock import micros_now
from connectors.http.client import HttpClient
from connectors.providers.simulator import SECOND, Callback, Simulator, Site
from connectors.sandbox.store import Delivery, Store

log = logging.getLogger(__name__)

MAX_CONCURRENCY = 16
TIMEOUT_SECONDS = 10.0
_MAX_PAUSE_SECONDS = 5.0


class DeliveryLoop:
    """Delivers the pending callbacks in the store and runs its timers, until cancelled."""

    def __init__(self, store: Store, simulators: Mapping[str, Simulator]) -> None:
        self._store = store
        self._simulators = simulators
        self._changed = asyncio.Event()
        self._in_progress: set[int] = set()

    def wake(self) -> None:
        """Look for new deliveries now."""
        self._changed.set()

    async def run(self) -> None:
        async with (
            HttpClient(timeout=TIMEOUT_SECONDS, trust_env=False) as client,
            asyncio.TaskGroup() as tasks,
        ):
            while True:
                self._changed.clear()
                now = micros_now()
                self._run_timers(now)
                for delivery in self._due(now):
                    self._in_progress.add(delivery.number)
                    tasks.create_task(self._deliver(client, delivery))
                await self._pause(now)

    def _run_timers(self, now: int) -> None:
        with self._store.transaction():
            for timer in self._store.pop_timers(now):
                self._simulators[timer.provider].on_timer(timer.key, now)

    def _due(self, now: int) -> list[Delivery]:
        """Return the due deliveries, at most as many as there are free slots."""
        free = MAX_CONCURRENCY - len(self._in_progress)
        due = self._store.due(now, MAX_CONCURRENCY + len(self._in_progress)) if free else []
        return [delivery for delivery in due if delivery.number not in self._in_progress][:free]

    async def _pause(self, now: int) -> None:
        """Wait until a delivery is due, a new one is added, or an attempt ends."""
        due = self._store.next_due(now)
        seconds = _MAX_PAUSE_SECONDS
        if due is not None:
            seconds = min((due - now) / SECOND, _MAX_PAUSE_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _deliver(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        simulator = self._simulators[delivery.provider]
        try:
            self._store_result(simulator, delivery, await attempt(client, simulator, delivery))
        finally:
            self._in_progress.discard(delivery.number)
            self._changed.set()

    def _store_result(
        self, simulator: Simulator, delivery: Delivery, response: httpx.Response | None
    ) -> None:
        pauses = simulator.RETRY_SECONDS
        status = None if response is None else response.status_code
        if response is not None and simulator.acknowledged(response.status_code, response.content):
            self._store.finish(delivery.number, "delivered", status)
        elif delivery.attempts >= len(pauses):
            self._store.finish(delivery.number, "failed", status)
            log.warning("%s: no attempt was acknowledged, the delivery failed", delivery.provider)
        else:
            jitter = random.uniform(-simulator.JITTER, simulator.JITTER)  # noqa: S311
            seconds = pauses[delivery.attempts] * (1 + jitter) / simulator.site.speed
            self._store.retry(delivery.number, status, micros_now() + int(seconds * SECOND))


def signed_headers(
    simulator: type[Simulator], site: Site, callback: Callback, url: str, now: int
) -> httpx.Headers:
    """Return the headers of a callback to `url`, with its signature."""
    headers = httpx.Headers({"content-type": callback.content_type})
    headers.update(simulator.sign(site, callback, url, now))
    return headers


async def attempt(
    client: httpx.AsyncClient, simulator: Simulator, delivery: Delivery
) -> httpx.Response | None:
    """Post the callback once. Return the response, or None if there was none."""
    callback = delivery.callback
    url = callback.url or simulator.site.callback_url
    headers = signed_headers(type(simulator), simulator.site, callback, url, micros_now())
    try:
        return await client.post(url, content=callback.body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
