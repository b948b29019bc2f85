"""Old paid links are imported: the way of the simulated provider's answer through all agents."""

from collections.abc import Iterator
from typing import Any

import pytest

from connectors.clock import micros_now
from connectors.providers import raw
from connectors.providers.registry import PROVIDERS
from schemas.topics import (
    ANOMALIES,
    DEAD_LETTERS,
    LINK_EVENTS,
    LINK_STATUS,
    LOOKUPS,
    ORDER_CLOSE,
    ORDERS,
    SETTLEMENT,
    callbacks,
    message_key,
)
from streams import worker
from streams.domain.polling import Intervals
from streams.rebuild.in_memory import InMemoryPipeline, Record
from streams.settings import load
from tests.connectors.providers.exchanges import look_up
from tests.connectors.sandbox.sandboxes import NOW, Simulated, close_all
from tests.support.codecs import CODECS

MONTH = 30 * 86_400_000_000
PAID = {
    "ping": ("PENDING", "COMPLETED"),
    "peach": ("opened", "processing", "completed"),
    "truelayer": ("payment_created", "executed", "settled", "creditable", "fulfilled"),
    "ipint": ("PROCESSING", "COMPLETED"),
}
Sent = dict[str, list[Any]]


@pytest.fixture(autouse=True)
def stores() -> Iterator[None]:
    yield
    close_all()


class Imported:
    """An import of the simulator's link "link-1", as often as it is done."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.simulated = Simulated(name)
        self.simulated.create(*PAID[name])
        kind = PROVIDERS[name]
        self.provider = kind(kind.Config.model_validate(self.simulated.settings()))
        providers = {name: self.provider}
        rules = worker.rules(load(), providers)
        self._pipeline = InMemoryPipeline(CODECS, providers, rules, Intervals())

    def again(self, *, closed: bool) -> Sent:
        """Return what follows, by topic."""
        now = micros_now()
        answer, _ = look_up(self.provider, self.simulated.respond, NOW + MONTH, "link-1")
        headers = raw.import_headers(self.name, "link-1", answer.status, closed_elsewhere=closed)
        topic, key = callbacks(self.name).name, message_key(self.name, "link-1")
        sent: Sent = {}
        for output in self._pipeline.process(Record(topic, key, answer.body, headers, now // 1000)):
            assert output.topic != DEAD_LETTERS.name, output.headers
            schema, value = CODECS.decode_any(output.value or b"")
            assert schema is not None
            sent.setdefault(output.topic, []).append(value)
        return sent

    def rows(self) -> dict[str, Any]:
        rows = self._pipeline.rows()
        return {one.topic: CODECS.decode_any(one.value or b"")[1] for one in rows}


@pytest.mark.parametrize("name", PAID)
def test_old_paid_link_is_a_row_and_closes_its_order_once(name: str) -> None:
    link = Imported(name)
    first = link.again(closed=False)
    (close,) = first[ORDER_CLOSE.name]
    row, order = link.rows()[LINK_STATUS.name], link.rows()[ORDERS.name]
    assert (row["status"], row["amount_minor"]) == ("PAID", 12345)
    assert (close["total_minor"], order["decided_at"] is not None) == (12345, True)
    assert {event["source"] for event in first[LINK_EVENTS.name]} == {"import"}
    for sent in (first, link.again(closed=False), link.again(closed=True)):
        assert not sent.keys() & {ANOMALIES.name, LOOKUPS.name}
        if sent is not first:
            assert not sent.keys() & {ORDER_CLOSE.name, SETTLEMENT.name}, "nothing twice"
            ids = {event["event_id"] for event in sent[LINK_EVENTS.name]}
            assert ids == {event["event_id"] for event in first[LINK_EVENTS.name]}


@pytest.mark.parametrize("name", PAID)
def test_old_paid_link_whose_order_was_closed_before_closes_nothing(name: str) -> None:
    link = Imported(name)
    for closed in (True, False, True):
        sent = link.again(closed=closed)
        forbidden = {ORDER_CLOSE.name, SETTLEMENT.name, ANOMALIES.name, LOOKUPS.name}
        assert not sent.keys() & forbidden
    row, order = link.rows()[LINK_STATUS.name], link.rows()[ORDERS.name]
    assert (row["status"], row["closed_elsewhere"]) == ("PAID", True)
    assert (order["state"], order["decided_at"], order["settlements"]) == ("CLOSED", None, {})
