"""track: the fold of all events of a link is its row in `link-status`."""

from collections.abc import Mapping

from confluent_kafka import Message

from schemas import codec, topics
from schemas.records import ENDED, Anomaly, LinkStatus, LookupRequest, OrderEvent
from schemas.topics import message_key
from streams.agents.figures import count_repair
from streams.agents.messages import check_key, place, send_anomaly, trace
from streams.agents.polling import Poller
from streams.domain.rules import ProviderRules
from streams.domain.tracking import repaired, track
from streams.engine.batch import Batch, Headers


class Track:
    """Keyed by link; its table is the topic `link-status`."""

    def __init__(self, rules: Mapping[str, ProviderRules], poller: Poller) -> None:
        self._rules = rules
        self._poller = poller

    def __call__(self, batch: Batch, message: Message) -> None:
        event = codec.LINK_EVENT.decode(message.value())
        partition, key = place(message)
        check_key(key, message_key(event["provider"], event["link_id"]))
        rules = self._rules.get(event["provider"])
        if rules is None:
            raise ValueError(f"unknown provider {event['provider']!r}")
        known: LinkStatus | None = batch.tables[partition].get(key)
        row, anomalies, lookup, orders = track(known, event, rules)
        if row is known:
            if lookup:
                _send(batch, key, (), lookup, (), trace(message))
            return
        batch.put(partition, key, row)
        if row["status"] not in ENDED:
            self._poller.touch(partition, key)
        elif repaired(known, row, event):
            count_repair(batch, row)
        if anomalies or lookup or orders:
            _send(batch, key, anomalies, lookup, orders, trace(message))

    def tick(self, batch: Batch, now: int) -> None:
        """What is due by time alone: questions to providers, and links that have become stale."""
        for partition, key, outcome in self._poller.due(batch.tables, now):
            if outcome.anomalies:
                batch.put(partition, key, outcome.row)
            _send(batch, key, outcome.anomalies, outcome.lookup, (), None)


def _send(
    batch: Batch,
    key: bytes,
    anomalies: tuple[Anomaly, ...],
    lookup: LookupRequest | None,
    orders: tuple[OrderEvent, ...],
    traced: Headers | None,
) -> None:
    for anomaly in anomalies:
        send_anomaly(batch, anomaly, traced)
    if lookup is not None:
        batch.send(topics.LOOKUPS.name, key, codec.LOOKUP_REQUEST.encode(lookup), traced)
    for event in orders:
        order_key = message_key(event["provider"], event["order_id"])
        batch.send(topics.ORDER_EVENTS.name, order_key, codec.ORDER_EVENT.encode(event), traced)
