"""Gives each record of `order-close` and `settlement` to the executor of its provider."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from connectors.kafka.publisher import Publishes
from connectors.kafka.task import Task
from connectors.kafka.task_consumer import decoded
from connectors.settle.executor import SettleExecutor
from connectors.settle.jobs import Order, SettleLimits, order_of
from connectors.triage.writer import dead_letter
from schemas import codec
from schemas.codec import Codecs, SchemaAway
from schemas.topics import ORDER_CLOSE


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """`prefix` is that of the installation's topics, `executors` are those by provider."""

    prefix: str
    executors: Mapping[str, SettleExecutor]
    publisher: Publishes
    codecs: Codecs
    limits: SettleLimits

    def capacity(self) -> int:
        """Return how many more orders we may take."""
        return self.limits.max_pending - sum(one.pending for one in self.executors.values())

    def in_work(self) -> dict[Hashable, str]:
        """Return what must end soon, as of `progress.Source`."""
        return {one: why for e in self.executors.values() for one, why in e.in_work().items()}

    async def handle(self, task: Task) -> None:
        """Begin the work that a record requests."""
        topic = task.record.topic.removeprefix(self.prefix)
        try:
            order = await self._order(topic, task.record.value)
        except SchemaAway:
            raise
        except Exception as error:  # no record may stop the others
            await dead_letter(self.publisher, topic, task, "settle", error)
            return task.ack()
        if order is None or order.provider not in self.executors:
            return task.ack()
        return self.executors[order.provider].enqueue(order, task)

    async def _order(self, topic: str, value: bytes | None) -> Order | None:
        if topic == ORDER_CLOSE.name:
            close = await decoded(self.codecs, codec.ORDER_CLOSE, value)
            return order_of(close, ("CLOSE",))
        settlement = await decoded(self.codecs, codec.SETTLEMENT, value)
        if settlement["kind"] != "REQUESTED":
            return None
        fast_forward = self.limits.fast_forward
        return order_of(settlement, ("SETTLE",) if fast_forward else ("SPLIT", "SETTLE"))
