"""`linkstatus settle`: performs CLOSE, SPLIT and SETTLE at providers that settle by order.

A reference for a downstream service: it reads the public topics and reports to `order-updates`.
"""

import logging
from collections.abc import Mapping

from starlette.applications import Starlette

from connectors.delivery import dead_letter
from connectors.intake import Intake, Taken, decoded
from connectors.kafka import Cluster
from connectors.order_api import OrderApi
from connectors.outward import http_client
from connectors.process import Address, http_server, probes, run
from connectors.publish import Publisher, Publishes
from connectors.settle.desk import Desk, Order, SettleLimits, closing, settling
from schemas import codec
from schemas.codec import BadRecord
from schemas.topics import ORDER_CLOSE, SETTLEMENT

__all__ = ["SettleLimits", "run_settle"]

log = logging.getLogger(__name__)


class Office:
    """Gives each record to the desk of its provider."""

    def __init__(
        self,
        cluster: Cluster,
        desks: Mapping[str, Desk],
        publisher: Publishes,
        limits: SettleLimits,
    ) -> None:
        self._prefix = cluster.prefix
        self._desks = desks
        self._publisher = publisher
        self._limits = limits

    def room(self) -> int:
        """How many more orders may be taken."""
        return self._limits.most_waiting - sum(desk.waiting for desk in self._desks.values())

    async def take(self, taken: Taken) -> None:
        """Takes one record of `order-close` or `settlement`."""
        topic = taken.record.topic.removeprefix(self._prefix)
        try:
            order = await self._wanted(topic, taken.record.value)
        except BadRecord as error:
            await dead_letter(self._publisher, topic, taken, "settle", error)
            return taken.done()
        desk = self._desks.get(order.provider) if order else None
        if order is None or desk is None:
            return taken.done()
        return desk.enter(order, taken)

    async def _wanted(self, topic: str, value: bytes | None) -> Order | None:
        if topic == ORDER_CLOSE.name:
            return closing(await decoded(codec.ORDER_CLOSE, value))
        settlement = await decoded(codec.SETTLEMENT, value)
        return settling(settlement, self._limits.fast_forward)


async def run_settle(
    cluster: Cluster, apis: Mapping[str, OrderApi], address: Address, limits: SettleLimits
) -> None:
    """Performs and reports until it is told to end. `apis` by provider; one without credentials is
    left out.
    """
    publisher = Publisher(cluster)
    for name, api in apis.items():
        if not api.ready():
            log.warning("%s: no credentials for its API, so its orders are not settled", name)
    async with http_client(limits.timeout) as client:
        desks = {
            name: Desk(name, api, client, publisher, limits)
            for name, api in apis.items()
            if api.ready()
        }
        office = Office(cluster, desks, publisher, limits)
        topics = [ORDER_CLOSE.name, SETTLEMENT.name]
        intake = Intake(cluster, "settle", topics, office.take, office.room)

        def why_not_ready() -> str | None:
            return publisher.why_not_ready() or (
                None if intake.connected else "no connection to Kafka"
            )

        server = http_server(Starlette(routes=probes(why_not_ready)), address)
        await run(server, [publisher.run, intake.run, *(desk.run for desk in desks.values())])
