"""orders: when an order may be closed, and where its money stands."""

from collections.abc import Mapping

from schemas.codec import Codecs
from schemas.headers import Headers
from schemas.records import OrderStatus
from schemas.topics import ORDER_CLOSE, ORDER_CORRECTIONS, ORDER_EVENTS, SETTLEMENT
from streams.agents.agent import Agent, checked_key, rules_of, trace_of
from streams.agents.closing import CloseTimer
from streams.agents.metrics import count_order, time_close
from streams.domain.orders import OrderOutcome, close_without_details, update_order
from streams.domain.polling import Intervals
from streams.domain.rules import ProviderRules
from streams.engine.batch import Batch, Fact


class Orders(Agent):
    """Keyed by order. Its table is the topic `orders`."""

    name = "orders"

    def __init__(
        self, codecs: Codecs, rules: Mapping[str, ProviderRules], intervals: Intervals
    ) -> None:
        super().__init__(codecs)
        self._rules = rules
        self._timer = CloseTimer(codecs, intervals.details)

    def on_fact(self, batch: Batch, fact: Fact) -> None:
        event = self.value(ORDER_EVENTS, fact)
        key = checked_key(fact, event["provider"], event["order_id"])
        rules = rules_of(event["provider"], self._rules)
        known: OrderStatus | None = batch.tables[self.name][fact.partition].get(key)
        outcome = update_order(known, event, rules)
        if outcome.row is not known:
            batch.put(self.name, fact.partition, key, outcome.row)
            if _begins_to_wait(known, outcome.row):
                self._timer.touch(fact.partition, key)
            count_order(batch, known, outcome.row)
            self._send(batch, key, outcome, trace_of(fact))

    def on_tick(self, batch: Batch, now: int) -> None:
        """Close the orders that have waited for amounts for too long."""
        for partition, key, row in self._timer.due(batch.tables[self.name], now):
            rules = self._rules.get(row["provider"])
            if rules is None:
                continue
            outcome = close_without_details(row, now, rules)
            batch.put(self.name, partition, key, outcome.row)
            count_order(batch, row, outcome.row)
            self._send(batch, key, outcome, None)

    def _send(self, batch: Batch, key: bytes, outcome: OrderOutcome, trace: Headers | None) -> None:
        if outcome.close is not None:
            time_close(batch, outcome.close)
            self.send(batch, ORDER_CLOSE, key, outcome.close, trace)
        if outcome.correction is not None:
            self.send(batch, ORDER_CORRECTIONS, key, outcome.correction, trace)
        for settlement in outcome.settlements:
            self.send(batch, SETTLEMENT, key, settlement, trace)
        for anomaly in outcome.anomalies:
            self.send_anomaly(batch, anomaly, trace)


def _begins_to_wait(before: OrderStatus | None, after: OrderStatus) -> bool:
    since = after["details_awaited_since"]
    return since is not None and (before is None or before["details_awaited_since"] != since)
