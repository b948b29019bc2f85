"""join: events that name only a payment find their link."""

from schemas.topics import PAYMENT_EVENTS
from streams.agents.agent import Agent, checked_key, trace_of
from streams.domain.join import join
from streams.engine.batch import Batch, Fact


class Join(Agent):
    """Keyed by payment. Its table is the topic `payments`."""

    name = "join"

    def on_fact(self, batch: Batch, fact: Fact) -> None:
        payment = self.value(PAYMENT_EVENTS, fact)
        key = checked_key(fact, payment["provider"], payment["payment_id"])
        known = batch.tables[self.name][fact.partition].get(key)
        outcome = join(known, payment)
        if outcome.row is not known:
            batch.put(self.name, fact.partition, key, outcome.row)
        for event in outcome.events:
            self.hand_on_link_event(batch, fact, event, trace_of(fact))
