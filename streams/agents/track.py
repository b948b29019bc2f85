"""track: the fold of all events of a link is its row in `link-status`."""

from collections.abc import Mapping

from schemas.codec import Codecs
from schemas.headers import Headers
from schemas.records import ENDED, LinkStatus
from schemas.topics import LINK_EVENTS, LINK_FACTS, LOOKUPS, REFUNDS
from streams.agents.agent import Agent, checked_key, rules_of, trace_of
from streams.agents.metrics import count_forgotten, count_refund, count_repair
from streams.agents.polling import Poller
from streams.domain.polling import Intervals, unless_forgotten
from streams.domain.rules import ProviderRules
from streams.domain.track import TrackOutcome, is_repaired, track
from streams.engine.batch import Batch, Fact


class Track(Agent):
    """Keyed by link. Its table is the topic `link-status`. It publishes the events it folds."""

    name = "track"

    def __init__(
        self, codecs: Codecs, rules: Mapping[str, ProviderRules], intervals: Intervals
    ) -> None:
        super().__init__(codecs)
        self._rules = rules
        self._intervals = intervals
        self._poller = Poller(codecs, rules, intervals)

    def on_fact(self, batch: Batch, fact: Fact) -> None:
        event, partition = self.value(LINK_FACTS, fact), fact.partition
        key = checked_key(fact, event["provider"], event["link_id"])
        rules = rules_of(event["provider"], self._rules)
        trace = trace_of(fact)
        self.send(batch, LINK_EVENTS, key, event, trace)
        stored: LinkStatus | None = batch.tables[self.name][partition].get(key)
        known = unless_forgotten(stored, event["received_at"], self._intervals)
        outcome = track(known, event, rules)
        row = outcome.row
        if row is not known:
            batch.put(self.name, partition, key, row)
            if row["status"] not in ENDED:
                self._poller.touch(partition, key)
            elif is_repaired(known, row, event):
                count_repair(batch, row)
        self._send(batch, key, outcome, trace)
        for order_event in outcome.orders:
            self.hand_on_order_event(batch, fact, order_event, trace)

    def on_tick(self, batch: Batch, now: int) -> None:
        """Send the lookups that are due, and the anomalies of links that have become stale. Delete
        the rows that are forgotten.
        """
        for partition, key, outcome in self._poller.due(batch.tables[self.name], now):
            if outcome is None:
                batch.put(self.name, partition, key, None)
                count_forgotten(batch)
                continue
            if outcome.anomalies:
                batch.put(self.name, partition, key, outcome.row)
            self._send(batch, key, outcome, None)

    def _send(self, batch: Batch, key: bytes, outcome: TrackOutcome, trace: Headers | None) -> None:
        for anomaly in outcome.anomalies:
            self.send_anomaly(batch, anomaly, trace)
        if outcome.lookup is not None:
            self.send(batch, LOOKUPS, key, outcome.lookup, trace)
        for lookup in outcome.refund_lookups:
            self.send(batch, LOOKUPS, key, lookup, trace)
        for refund in outcome.refunds:
            count_refund(batch, refund)
            self.send(batch, REFUNDS, key, refund, trace)
