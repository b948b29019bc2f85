"""How every process is: what their probes say, asked every few seconds."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import httpx
from prometheus_client.parser import text_string_to_metric_families

log = logging.getLogger(__name__)

_EVERY_SECONDS = 5.0
_PATIENCE_SECONDS = 2.0
_LOOKS_KEPT = 180
# What a process counts as waiting for it: metric, and the label that says where.
_LAGS = {
    "linkstatus_stage_lag_records": "stage",
    "linkstatus_board_lag_records": "topic",
    "linkstatus_lookups_waiting": "provider",
}

State = Literal["ready", "not ready", "silent"]


@dataclass(frozen=True, slots=True)
class Health:
    """One process as it was seen last. `why` says what keeps it from its work; `waiting` are
    records by where they wait; `held_back` are providers that are not asked now.
    """

    name: str
    state: State
    why: str = ""
    started_at: int | None = None
    waiting: Mapping[str, int] = field(default_factory=dict)
    held_back: tuple[str, ...] = ()

    @property
    def lag(self) -> int:
        return sum(self.waiting.values())


class Watch:
    """Asks each process at its address (`http://host:port`) for its probes."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = dict(addresses)
        self.seen: list[Health] = []
        # Records that waited at each look, of all processes but the board.
        self.lags: deque[int] = deque(maxlen=_LOOKS_KEPT)

    async def run(self) -> None:
        """Looks every few seconds, forever."""
        async with httpx.AsyncClient(timeout=_PATIENCE_SECONDS, trust_env=False) as client:
            while True:
                await self.look(client)
                await asyncio.sleep(_EVERY_SECONDS)

    async def look(self, client: httpx.AsyncClient) -> None:
        """Asks all of them once."""
        asked = (_ask(client, name, base) for name, base in self._addresses.items())
        self.seen = list(await asyncio.gather(*asked))
        self.lags.append(sum(one.lag for one in self.seen))


async def _ask(client: httpx.AsyncClient, name: str, base: str) -> Health:
    try:
        ready = await client.get(f"{base}/readyz")
        metrics = await client.get(f"{base}/metrics")
        return _health(name, ready, metrics.text)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Health(name, "silent", str(error) or type(error).__name__)
    except ValueError as error:
        log.warning("%s: metrics cannot be read: %s", name, error)
        return Health(name, "not ready", "its metrics cannot be read")


def _health(name: str, ready: httpx.Response, metrics: str) -> Health:
    waiting: dict[str, int] = {}
    held_back, started = [], None
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if label := _LAGS.get(sample.name):
                where = sample.labels.get(label, "")
                waiting[where] = waiting.get(where, 0) + int(sample.value)
            elif sample.name == "linkstatus_provider_down" and sample.value:
                held_back.append(sample.labels.get("provider", ""))
            elif sample.name == "process_start_time_seconds":
                started = int(sample.value * 1_000_000)
    well = ready.status_code == httpx.codes.OK
    return Health(
        name,
        "ready" if well else "not ready",
        "" if well else ready.text.strip()[:300],
        started,
        waiting,
        tuple(held_back),
    )
