"""The health of every process, read from its probes every few seconds."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from pydantic import Field

from connectors.http.client import HttpClient
from connectors.reasons import reason_of
from connectors.serialize import Time

log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 5.0
_TIMEOUT_SECONDS = 2.0
_HISTORY = 180
_LONGEST_REASON = 300
# The metrics that count waiting records, and the label that says where they wait.
_LAG_METRICS = {
    "linkstatus_stage_lag_records": "stage",
    "linkstatus_board_lag_records": "topic",
    "linkstatus_lookups_waiting": "provider",
    "linkstatus_notify_lag_records": "endpoint",
}


@dataclass(frozen=True, slots=True)
class ProcessHealth:
    """The health of a process."""

    name: str
    state: Literal["ready", "not_ready", "unreachable"]
    reason: Annotated[str, Field(description="Why it is not ready.")] = ""
    started_at: Time = None
    lag: Annotated[
        Mapping[str, int],
        Field(description="Waiting records by stage, topic, provider or endpoint."),
    ] = field(default_factory=dict)
    providers_down: Annotated[
        tuple[str, ...], Field(description="The providers that it does not call now.")
    ] = ()
    endpoints_down: Annotated[
        tuple[str, ...], Field(description="The webhook endpoints that it does not call now.")
    ] = ()

    @property
    def total_lag(self) -> int:
        return sum(self.lag.values())


class HealthMonitor:
    """Reads the probes of each process at its address (`http://host:port`)."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = dict(addresses)
        self.processes: list[ProcessHealth] = []
        # The records that waited in all processes, at each check of the last quarter of an hour.
        self.lags: deque[int] = deque(maxlen=_HISTORY)

    async def run(self) -> None:
        """Check every few seconds, forever."""
        async with HttpClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
            while True:
                await self.check(client)
                await asyncio.sleep(_INTERVAL_SECONDS)

    async def check(self, client: httpx.AsyncClient) -> None:
        """Read the probes of all processes once."""
        checks = (_check(client, name, url) for name, url in self._addresses.items())
        self.processes = list(await asyncio.gather(*checks))
        self.lags.append(sum(process.total_lag for process in self.processes))


async def _check(client: httpx.AsyncClient, name: str, url: str) -> ProcessHealth:
    try:
        ready = await client.get(f"{url}/readyz")
        metrics = await client.get(f"{url}/metrics")
        return _parse(name, ready, metrics.text)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return ProcessHealth(name, "unreachable", reason_of(error))
    except ValueError as error:
        log.warning("%s: cannot read its metrics: %s", name, error)
        return ProcessHealth(name, "not_ready", "cannot read its metrics")


def _parse(name: str, ready: httpx.Response, metrics: str) -> ProcessHealth:
    is_ready = ready.status_code == httpx.codes.OK
    samples = [
        sample for family in text_string_to_metric_families(metrics) for sample in family.samples
    ]
    started = (s.value for s in samples if s.name == "process_start_time_seconds")
    return ProcessHealth(
        name,
        "ready" if is_ready else "not_ready",
        "" if is_ready else ready.text.strip()[:_LONGEST_REASON],
        next((int(seconds * 1_000_000) for seconds in started), None),
        _lag(samples),
        _down(samples, "linkstatus_provider_down", "provider"),
        _down(samples, "linkstatus_notify_endpoint_down", "endpoint"),
    )


def _down(samples: list[Sample], name: str, label: str) -> tuple[str, ...]:
    return tuple(one.labels.get(label, "") for one in samples if one.name == name and one.value)


def _lag(samples: list[Sample]) -> Counter[str]:
    lag: Counter[str] = Counter()
    for sample in samples:
        if label := _LAG_METRICS.get(sample.name):
            lag[sample.labels.get(label, "")] += int(sample.value)
    return lag
