"""orders: when an order may be closed, and where its money stands."""

from collections.abc import Mapping

from confluent_kafka import Message

from schemas import codec, topics
from schemas.records import OrderStatus
from schemas.topics import message_key
from streams.agents.figures import count_order, time_close
from streams.agents.messages import check_key, place, send_anomaly, trace, with_event_id
from streams.domain.orders import Ordered, order
from streams.domain.rules import ProviderRules
from streams.engine.batch import Batch, Headers


class Orders:
    """Keyed by order; its table is the topic `orders`."""

    def __init__(self, rules: Mapping[str, ProviderRules]) -> None:
        self._rules = rules

    def __call__(self, batch: Batch, message: Message) -> None:
        event = codec.ORDER_EVENT.decode(message.value())
        partition, key = place(message)
        check_key(key, message_key(event["provider"], event["order_id"]))
        rules = self._rules.get(event["provider"])
        if rules is None:
            raise ValueError(f"unknown provider {event['provider']!r}")
        known: OrderStatus | None = batch.tables[partition].get(key)
        outcome = order(known, event, rules)
        if outcome.row is known:
            return
        batch.put(partition, key, outcome.row)
        count_order(batch, known, outcome.row)
        _send(batch, key, outcome, trace(message))


def _send(batch: Batch, key: bytes, outcome: Ordered, traced: Headers | None) -> None:
    close = outcome.close
    if close is not None:
        time_close(batch, close)
        headers = with_event_id(close["event_id"], traced)
        batch.send(topics.ORDER_CLOSE.name, key, codec.ORDER_CLOSE.encode(close), headers)
    for settlement in outcome.settlements:
        headers = with_event_id(settlement["event_id"], traced)
        batch.send(topics.SETTLEMENT.name, key, codec.SETTLEMENT.encode(settlement), headers)
    for anomaly in outcome.anomalies:
        send_anomaly(batch, anomaly, traced)
