"""The delivery of callbacks: signed anew for each attempt, repeated until acknowledged."""

import asyncio
import logging
import random
from collections.abc import Mapping

import httpx

from connectors.clock import micros_now
from connectors.sandbox.simulator import SECOND, Callback, Simulator, Site
from connectors.sandbox.store import Delivery, Store

log = logging.getLogger(__name__)

AT_ONCE = 16
TIMEOUT_SECONDS = 10.0
_LONGEST_REST = 5.0


class Courier:
    """Delivers what the store owes and rings its alarms, until cancelled."""

    def __init__(self, store: Store, simulators: Mapping[str, Simulator]) -> None:
        self._store = store
        self._simulators = simulators
        self._changed = asyncio.Event()
        self._under_way: set[int] = set()

    def look_again(self) -> None:
        """Something new may be owed."""
        self._changed.set()

    async def run(self) -> None:
        async with (
            httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as client,
            asyncio.TaskGroup() as tasks,
        ):
            while True:
                self._changed.clear()
                now = micros_now()
                self._ring(now)
                for delivery in self._ready(now):
                    self._under_way.add(delivery.number)
                    tasks.create_task(self._deliver(client, delivery))
                await self._rest(now)

    def _ring(self, now: int) -> None:
        with self._store.transaction():
            for alarm in self._store.rung(now):
                self._simulators[alarm.provider].woken(alarm.key, now)

    def _ready(self, now: int) -> list[Delivery]:
        free = AT_ONCE - len(self._under_way)
        due = self._store.due(now, AT_ONCE + len(self._under_way)) if free else []
        return [one for one in due if one.number not in self._under_way][:free]

    async def _rest(self, now: int) -> None:
        """Until something is due, something is new, or an attempt has ended."""
        due = self._store.next_due(now)
        seconds = _LONGEST_REST if due is None else min((due - now) / SECOND, _LONGEST_REST)
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _deliver(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        simulator = self._simulators[delivery.provider]
        try:
            self._conclude(simulator, delivery, await attempt(client, simulator, delivery))
        finally:
            self._under_way.discard(delivery.number)
            self._changed.set()

    def _conclude(
        self, simulator: Simulator, delivery: Delivery, response: httpx.Response | None
    ) -> None:
        waits = simulator.RETRY_SECONDS
        answer = None if response is None else response.status_code
        if response is not None and simulator.acknowledged(response.status_code, response.content):
            self._store.delivered(delivery.number, response.status_code)
        elif delivery.attempts >= len(waits):
            self._store.given_up(delivery.number, answer)
            log.warning("%s: a callback was never acknowledged, giving up", delivery.provider)
        else:
            spread = random.uniform(-simulator.JITTER, simulator.JITTER)  # noqa: S311
            seconds = waits[delivery.attempts] * (1 + spread) / simulator.site.speed
            self._store.retry(delivery.number, answer, micros_now() + int(seconds * SECOND))


def signed_headers(
    sandbox: type[Simulator], site: Site, callback: Callback, url: str, now: int
) -> httpx.Headers:
    """The headers of a callback to `url`, its signature included."""
    headers = httpx.Headers({"content-type": callback.content_type})
    headers.update(sandbox.sign(site, callback, url, now))
    return headers


async def attempt(
    client: httpx.AsyncClient, simulator: Simulator, delivery: Delivery
) -> httpx.Response | None:
    """One attempt; the answer, or None when there was none."""
    callback = delivery.callback
    url = callback.url or simulator.site.callback_url
    headers = signed_headers(type(simulator), simulator.site, callback, url, micros_now())
    try:
        return await client.post(url, content=callback.body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
