"""`linkstatus settle`: performs CLOSE, SPLIT and SETTLE at providers that settle by order.

A reference for a downstream service: it reads the public topics and reports to `order-updates`.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from connectors.http.client import http_client
from connectors.http.server import Address, run_with_probes
from connectors.kafka.cluster import Cluster
from connectors.kafka.publisher import Publisher
from connectors.kafka.task_consumer import TaskConsumer, Watch
from connectors.providers.order_api import OrderApi
from connectors.settle.dispatcher import Dispatcher
from connectors.settle.executor import SettleExecutor
from connectors.settle.jobs import SettleLimits
from schemas.codec import Codecs
from schemas.limits import STALL_SECONDS
from schemas.topics import ORDER_CLOSE, SETTLEMENT

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SettleConfig:
    """The settings of the process. `apis` and `rates` are by the connection's name; a rate is a
    connection's own number of calls a second. An API without credentials is not used.
    """

    cluster: Cluster
    codecs: Codecs
    apis: Mapping[str, OrderApi]
    address: Address
    limits: SettleLimits
    stall_seconds: float = STALL_SECONDS
    rates: Mapping[str, float] = field(default_factory=dict)

    def limits_of(self, name: str) -> SettleLimits:
        return replace(self.limits, per_second=self.rates.get(name, self.limits.per_second))


async def run_settle(config: SettleConfig) -> None:
    """Settle orders until a signal ends the process."""
    publisher = Publisher(config.cluster)
    for name, api in config.apis.items():
        if not api.can_look_up():
            log.warning("%s: no credentials for its API, so its orders are not settled", name)
    async with http_client(config.limits.timeout) as client:
        executors = {
            name: SettleExecutor(
                name, api, client, publisher, config.codecs, config.limits_of(name)
            )
            for name, api in config.apis.items()
            if api.can_look_up()
        }
        dispatcher = Dispatcher(
            config.cluster.prefix, executors, publisher, config.codecs, config.limits
        )
        consumer = TaskConsumer(
            config.cluster,
            "settle",
            [ORDER_CLOSE.name, SETTLEMENT.name],
            dispatcher.handle,
            dispatcher.capacity,
            dispatcher.in_work,
        )
        watch = Watch(config.cluster, [consumer], publisher, config.stall_seconds)
        await run_with_probes(
            config.address,
            watch.why_not_ready,
            [publisher.run, watch.run, consumer.run, *(e.run for e in executors.values())],
        )
