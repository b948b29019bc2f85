"""`linkstatus notify`: sends events to URLs as signed webhooks (Standard Webhooks).

Each endpoint has its own consumer group, so that one that is away delays no other.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import httpx
from confluent_kafka import KafkaException
from prometheus_client import Gauge

from connectors.clock import micros_now
from connectors.http.client import http_client
from connectors.http.server import Address, run_with_probes
from connectors.kafka import progress
from connectors.kafka.cluster import Cluster
from connectors.kafka.publisher import Publisher
from connectors.kafka.task_consumer import TaskConsumer, Watch
from connectors.notify.deliveries import Deliveries
from connectors.notify.endpoint import Endpoint, NotifyLimits
from connectors.reasons import reason_of
from schemas.codec import Codecs
from schemas.limits import STALL_SECONDS

log = logging.getLogger(__name__)

_LAG = Gauge(
    "linkstatus_notify_lag_records",
    "Records that the endpoint's group has not committed",
    ["endpoint"],
)
_OLDEST = Gauge(
    "linkstatus_notify_oldest_seconds",
    "How long the oldest event in memory has waited for the endpoint",
    ["endpoint"],
)
_MEASURE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    """The settings of the process."""

    cluster: Cluster
    codecs: Codecs
    endpoints: Sequence[Endpoint]
    address: Address
    limits: NotifyLimits
    stall_seconds: float = STALL_SECONDS


class _Line:
    """One endpoint: what reads its events, and what delivers them."""

    def __init__(self, endpoint: Endpoint, deliveries: Deliveries, config: NotifyConfig) -> None:
        self.endpoint = endpoint
        self.deliveries = deliveries
        self._most = config.limits.max_uncommitted
        self.consumer = TaskConsumer(
            config.cluster,
            endpoint.group,
            endpoint.consumed,
            deliveries.handle,
            deliveries.capacity,
            deliveries.in_work,
            after=endpoint.after,
            most_uncommitted=self._most,
        )

    def why_not_ready(self) -> str | None:
        """Why its events are not read on, None while they are."""
        if reason := self.deliveries.why_full():
            return reason
        if number := self.consumer.over():
            return (
                f"endpoint {self.endpoint.name} does not accept an event that {self._most} others "
                f"follow: {number} partitions are not read on"
            )
        return None

    async def measure(self, cluster: Cluster) -> None:
        """Set the metrics until cancelled."""
        name = self.endpoint.name
        topics = [cluster.topic(topic) for topic in self.endpoint.consumed]
        lag = partial(progress.records_behind, cluster, self.endpoint.group, topics)
        while True:
            oldest = self.deliveries.oldest()
            _OLDEST.labels(name).set(0 if oldest is None else (micros_now() - oldest) / 1e6)
            try:
                _LAG.labels(name).set(await asyncio.to_thread(lag))
            except KafkaException as error:
                log.info("%s: lag unknown: %s", name, reason_of(error))
            await asyncio.sleep(_MEASURE_SECONDS)


async def run_notify(config: NotifyConfig) -> None:
    """Send events until a signal ends the process."""
    if not config.endpoints:
        log.warning("LINKSTATUS_NOTIFY__ENDPOINTS names no endpoint, so nothing is sent")
    publisher = Publisher(config.cluster)
    async with http_client(config.limits.timeout) as client:
        lines = [_line(endpoint, client, publisher, config) for endpoint in config.endpoints]
        consumers = [line.consumer for line in lines]
        watch = Watch(config.cluster, consumers, publisher, config.stall_seconds)

        def why_not_ready() -> str | None:
            reasons = (watch.why_not_ready(), *(line.why_not_ready() for line in lines))
            return "\n".join(filter(None, reasons)) or None

        await run_with_probes(
            config.address,
            why_not_ready,
            [
                publisher.run,
                watch.run,
                *(line.deliveries.run for line in lines),
                *(line.consumer.run for line in lines),
                *(partial(line.measure, config.cluster) for line in lines),
            ],
        )


def _line(
    endpoint: Endpoint, client: httpx.AsyncClient, publisher: Publisher, config: NotifyConfig
) -> _Line:
    prefix = config.cluster.prefix
    deliveries = Deliveries(endpoint, prefix, client, publisher, config.codecs, config.limits)
    return _Line(endpoint, deliveries, config)
