"""The close of an order that waits for amounts: with injected time, restarts and moves."""

from collections import defaultdict
from typing import Any

import pytest

from schemas import codec, topics
from schemas.records import Anomaly, OrderClose, OrderEvent, OrderStatus
from schemas.topics import message_key
from streams.agents.closing import ORDERS_PER_TICK, SECONDS_PER_TICK, CloseTimer
from streams.agents.orders import Orders
from streams.agents.stages import stage_spec
from streams.domain.polling import SECOND, Intervals
from streams.domain.rules import ProviderRules
from streams.engine.batch import Batch
from streams.engine.table import TablePartition
from streams.rebuild.in_memory import Record
from tests.streams.domain.build import order_event, order_link
from tests.support.codecs import CODECS

WAIT = Intervals().details
HOUR = 3600 * SECOND
KEY = message_key("acme", "O1")
SPEC = stage_spec(CODECS, [])


def new_table() -> TablePartition[OrderStatus]:
    table = SPEC.tables["orders"]
    return TablePartition(table.encode, table.decode)


def waiting(at: int) -> OrderEvent:
    return order_event(order_link("L1", amount_minor=None, awaits_details=True), at=at)


def answered(at: int) -> OrderEvent:
    return order_event(order_link("L1"), at=at)


class Worker:
    """The agent `orders` with one table partition."""

    def __init__(self, table: TablePartition[OrderStatus] | None = None) -> None:
        self.table = table or new_table()
        self.agent = Orders(CODECS, {"acme": ProviderRules(can_look_up=True)}, Intervals())

    def moved(self) -> "Worker":
        """Return another worker that has restored the same table."""
        worker = Worker()
        for key in self.table.committed_keys():
            worker.table.restore(key, self.table.encoded(key))
        return worker

    def handle(
        self, *events: OrderEvent, now: int | None = None, aborted: bool = False
    ) -> dict[str, list[Any]]:
        """Handle a batch, or a tick if `now` is given. Return the records sent, by topic."""
        records: Any = [
            Record(topics.ORDER_EVENTS.name, KEY, CODECS.encode(codec.ORDER_EVENT, e), [], 0)
            for e in events
        ]
        batch = Batch(SPEC, records, {"orders": {0: self.table}}, "", 1, now)
        self.agent.handle(batch)
        if aborted:
            self.table.abort()
        else:
            self.table.encode_pending()
            self.table.commit()
            batch.committed()
        sent: dict[str, list[Any]] = defaultdict(list)
        for output in batch.outputs:
            assert output.topic != topics.DEAD_LETTERS.name
            sent[output.topic].append(CODECS.decode_any(output.value or b"")[1])
        return sent

    def closes(self, *events: OrderEvent, now: int | None = None) -> list[OrderClose]:
        return self.handle(*events, now=now)["order-close"]


def test_g1_order_closes_without_its_amount_when_the_wait_has_ended_and_never_again() -> None:
    worker = Worker()
    worker.handle(now=HOUR)
    assert worker.closes(waiting(HOUR)) == []
    assert worker.closes(now=HOUR + WAIT - 1) == []
    sent = worker.handle(now=HOUR + WAIT)
    (close,) = sent["order-close"]
    assert (close["total_minor"], close["decided_at"]) == (None, HOUR + WAIT)
    anomalies: list[Anomaly] = sent["anomalies"]
    assert [anomaly["kind"] for anomaly in anomalies] == ["AMOUNT_UNKNOWN"]
    assert [s["kind"] for s in sent["settlement"]] == ["EXPECTED"]
    assert worker.handle(now=HOUR + 10 * WAIT) == {}
    sent = worker.handle(answered(HOUR + 20 * WAIT))
    (correction,) = sent["order-corrections"]
    assert isinstance(correction, dict)
    assert (correction["corrects"][0], correction["total_minor"]) == (close["event_id"], 500)
    assert sent.keys() == {"order-corrections"}
    assert worker.moved().handle(now=HOUR + 99 * WAIT) == {}


def test_answer_in_time_closes_with_the_amount_and_the_timer_does_nothing() -> None:
    worker = Worker()
    worker.handle(now=HOUR)
    worker.handle(waiting(HOUR))
    worker.handle(now=HOUR + SECOND)
    (close,) = worker.closes(answered(HOUR + 2 * SECOND))
    assert close["total_minor"] == 500
    assert worker.handle(now=HOUR + 2 * WAIT) == {}


def test_wait_begins_anew_on_another_worker_and_after_a_restart() -> None:
    worker = Worker()
    worker.handle(now=HOUR)
    worker.handle(waiting(HOUR))
    restarted = worker.moved()
    assert restarted.closes(now=2 * HOUR) == []
    assert restarted.closes(now=2 * HOUR + WAIT - 1) == []
    assert len(restarted.closes(now=2 * HOUR + WAIT)) == 1


def test_worker_that_was_away_asks_late_and_waits_for_the_answer() -> None:
    """The payment came an hour ago, and only now does anything ask for its amount."""
    worker = Worker()
    worker.handle(now=2 * HOUR)
    worker.handle(waiting(HOUR))
    assert worker.closes(now=2 * HOUR + WAIT - 1) == []
    assert len(worker.closes(now=2 * HOUR + WAIT)) == 1


def test_time_of_the_future_delays_no_close() -> None:
    worker = Worker()
    worker.handle(now=HOUR)
    worker.handle(waiting(1000 * HOUR))
    assert worker.closes(now=HOUR + SECOND) == []
    (close,) = worker.closes(now=HOUR + SECOND + WAIT)
    assert close["decided_at"] == 1000 * HOUR


def test_close_whose_transaction_was_aborted_comes_again() -> None:
    worker = Worker()
    worker.handle(now=HOUR)
    worker.handle(waiting(HOUR))
    worker.handle(now=HOUR + SECOND)
    lost = worker.handle(now=HOUR + WAIT, aborted=True)["order-close"]
    # After an error the stage restores its tables.
    worker.table = worker.moved().table
    worker.handle(now=HOUR + WAIT)
    (again,) = worker.closes(now=HOUR + 2 * WAIT)
    assert [close["event_id"] for close in lost] == [again["event_id"]]


def test_order_in_the_batch_before_the_first_tick_is_timed() -> None:
    worker = Worker()
    worker.handle(waiting(HOUR))
    worker.handle(now=HOUR + SECOND)
    assert len(worker.closes(now=HOUR + SECOND + WAIT)) == 1


def restored(orders: int, event: OrderEvent) -> TablePartition[OrderStatus]:
    """Return a table partition with so many orders, each after the event."""
    worker, table = Worker(), new_table()
    worker.handle(event)
    row = worker.table.get(KEY)
    assert row is not None
    for number in range(orders):
        key = message_key("acme", f"O{number}")
        row["order_id"] = f"O{number}"
        table.restore(key, CODECS.encode(codec.ORDER_STATUS, row))
    return table


@pytest.mark.parametrize("more", [0, 1])
def test_tick_closes_a_limited_number_of_orders(more: int) -> None:
    worker = Worker(restored(ORDERS_PER_TICK + more, waiting(HOUR)))
    worker.agent._timer._clock = lambda: 0.0
    assert worker.closes(now=HOUR) == []
    counts = [len(worker.closes(now=HOUR + WAIT)) for _ in range(2)]
    assert counts == [ORDERS_PER_TICK, more]


def test_tick_looks_at_restored_rows_for_a_limited_time() -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += SECONDS_PER_TICK / 2
        return now

    table = restored(1_000, waiting(HOUR))
    timer = CloseTimer(CODECS, WAIT, clock)
    assert list(timer.due({0: table}, HOUR)) == []
    found = len(timer._schedules[0].turns)
    assert 0 < found < 1_000
    for _ in range(1_000):
        assert list(timer.due({0: table}, HOUR)) == []
    assert len(timer._schedules[0].turns) == 1_000


def test_closed_orders_are_not_decoded_after_a_restart() -> None:
    table = restored(100, answered(HOUR))
    decoded: list[bytes] = []
    decode = table._decode
    table._decode = lambda data: decoded.append(data) or decode(data)  # type: ignore[func-returns-value]
    worker = Worker(table)
    assert worker.handle(now=2 * HOUR) == {}
    assert decoded == []


def test_row_of_an_unknown_release_is_skipped_and_other_orders_close(
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = restored(1, waiting(HOUR))
    newer = b"\0\0\0\0\7" + (table.encoded(message_key("acme", "O0")) or b"")[5:]
    table.restore(b"acme:newer", newer)
    worker = Worker(table)
    worker.handle(now=HOUR)
    closes = worker.closes(now=HOUR + WAIT)
    assert [close["order_id"] for close in closes] == ["O0"]
    assert "schema id 7" in caplog.text
