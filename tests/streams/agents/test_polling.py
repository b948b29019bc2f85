"""Polling with injected time: thirty days of silence, expiry, restarts, moves to other workers."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from prometheus_client import REGISTRY

from schemas import codec, topics
from schemas.records import Anomaly, LinkEvent, LinkStatus, LookupRequest, Status
from schemas.topics import message_key
from streams.agents.polling import (
    LINKS_PER_TICK,
    LOOKUPS_PER_TICK,
    ROWS_PER_TICK,
    SECONDS_PER_TICK,
    Poller,
)
from streams.agents.stages import stage_spec
from streams.agents.track import Track
from streams.domain.polling import SECOND, Intervals
from streams.domain.rules import ProviderRules
from streams.engine.batch import Batch
from streams.engine.table import TablePartition
from streams.rebuild.in_memory import Record
from tests.streams.domain.build import claim, event, registration
from tests.support.codecs import CODECS

MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
POLLED = ProviderRules(polling=True, can_look_up=True)
KEY = message_key("acme", "L1")
FORGET = Intervals().forget_after
GONE = FORGET + Intervals().late
SPEC = stage_spec(CODECS, [])
Sent = tuple[list[LookupRequest], list[Anomaly]]


def new_table() -> TablePartition[LinkStatus]:
    table = SPEC.tables["track"]
    return TablePartition(table.encode, table.decode)


class Worker:
    """The agent `track` with one table partition."""

    def __init__(self, rules: ProviderRules = POLLED) -> None:
        self.rules = rules
        self.table = new_table()
        self.agent = Track(CODECS, {"acme": rules}, Intervals())

    def moved(self) -> "Worker":
        """Return another worker that has restored the same table."""
        worker = Worker(self.rules)
        for key in self.table.committed_keys():
            worker.table.restore(key, self.table.encoded(key))
        return worker

    def row(self) -> LinkStatus:
        row = self.table.get(KEY)
        assert row is not None
        return row

    def handle(self, *events: LinkEvent, now: int | None = None) -> Sent:
        """Handle a batch, with a tick if `now` is given. Return its lookups and anomalies."""
        records: Any = [
            Record(topics.LINK_FACTS.name, KEY, CODECS.encode(codec.LINK_EVENT, e), [], 0)
            for e in events
        ]
        batch = Batch(SPEC, records, {"track": {0: self.table}}, "", 1, now)
        self.agent.handle(batch)
        self.table.encode_pending()
        self.table.commit()
        batch.committed()
        sent: dict[str, list[bytes | None]] = defaultdict(list)
        for output in batch.outputs:
            sent[output.topic].append(output.value)
        assert topics.DEAD_LETTERS.name not in sent
        return (
            [CODECS.decode(codec.LOOKUP_REQUEST, value) for value in sent["lookups"]],
            [CODECS.decode(codec.ANOMALY, value) for value in sent["anomalies"]],
        )


def answer(at: int, status: Status = "CREATED") -> LinkEvent:
    return event(status, source="poll", at=at)


def days(first: int, last: int, step: int = MINUTE) -> Iterator[int]:
    return iter(range(first * DAY + step, last * DAY + step, step))


def live(
    worker: Worker, times: Iterator[int], answers: bool = True
) -> tuple[list[int], list[Anomaly]]:
    """Tick at all times. Return the times of the lookups, and the anomalies."""
    looked_up: list[int] = []
    raised: list[Anomaly] = []
    for now in times:
        lookups, anomalies = worker.handle(now=now)
        raised += anomalies
        for lookup in lookups:
            assert (lookup["reason"], lookup["link_id"]) == ("POLL", "L1")
            looked_up.append(now)
            if answers:
                worker.handle(answer(now))
    return looked_up, raised


def repairs() -> float:
    return REGISTRY.get_sample_value("linkstatus_repairs_total", {"provider": "acme"}) or 0.0


@pytest.fixture
def worker() -> Worker:
    """A worker that knows link L1, created at 0."""
    worker = Worker()
    worker.handle(event("CREATED", at=0))
    return worker


@pytest.mark.parametrize("answers", [True, False], ids=["answered", "unanswered"])
def test_silent_link_is_looked_up_at_growing_intervals(worker: Worker, answers: bool) -> None:
    times, anomalies = live(worker, days(0, 30), answers)
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert MINUTE <= times[0] <= 2 * MINUTE
    assert 35 < len(times) < 60
    assert all(later >= earlier - MINUTE for earlier, later in pairwise(waits))
    assert DAY * 4 // 5 <= max(waits) <= DAY + MINUTE
    assert anomalies == []


def test_restarts_change_no_lookup_time(worker: Worker) -> None:
    restarted = worker.moved()
    undisturbed, _ = live(worker, days(0, 10))
    times: list[int] = []
    for day in range(10):
        times += live(restarted, days(day, day + 1))[0]
        restarted = restarted.moved()
    assert times == undisturbed


def test_new_worker_looks_an_unanswered_link_up_once_more(worker: Worker) -> None:
    times, _ = live(worker, days(0, 3), answers=False)
    again, _ = live(worker.moved(), days(3, 4), answers=False)
    assert again[0] == 3 * DAY + MINUTE
    assert len(again) <= len(times)


@pytest.mark.parametrize("claimed", ["PAID", "CANCELLED", "PROCESSING", "CREATED"])
def test_invented_link_with_unreadable_answers_is_not_looked_up_without_end(
    claimed: Status,
) -> None:
    worker = Worker()
    worker.handle(claim(claimed, at=0))
    times, _ = live(worker, days(0, 30, HOUR), answers=False)
    assert (len(times), times[-1] < 7 * DAY) == (12, True)


@pytest.mark.parametrize("end", ["PAID", "EXPIRED", "CANCELLED", "FAILED"])
def test_ended_link_is_not_looked_up(worker: Worker, end: Status) -> None:
    assert live(worker, days(0, 1))[0]
    worker.handle(event(end, at=DAY))
    assert live(worker, days(1, 30)) == ([], [])
    assert live(worker.moved(), days(1, 30, HOUR)) == ([], [])


def test_many_changes_of_a_row_cause_one_lookup(worker: Worker) -> None:
    worker.handle(now=SECOND)
    for number in range(5):
        worker.handle(claim("OPENED", at=number, occurred_at=50 - number))
        worker.handle(now=2 * SECOND)
    lookups, _ = worker.handle(now=2 * MINUTE)
    assert len(lookups) == 1


@pytest.mark.parametrize(
    "rules",
    [POLLED, ProviderRules(can_look_up=True), ProviderRules()],
    ids=["polling", "lookups", "neither"],
)
def test_link_open_past_its_expiry_is_stale_once(rules: ProviderRules) -> None:
    worker = Worker(rules)
    worker.handle(registration(at=0, expires_at=2 * DAY))
    (stale,) = live(worker, days(0, 30, HOUR))[1]
    assert (stale["kind"], stale["at"] // HOUR) == ("STALE", 49)
    assert "expired at 1970-01-03T00:00:00Z and still CREATED" in stale["detail"]
    assert worker.row()["anomalies"] == ["STALE"]
    assert live(worker.moved(), days(30, 31))[1] == []


def test_link_that_ends_in_time_is_never_stale() -> None:
    worker = Worker()
    worker.handle(registration(at=0, expires_at=2 * DAY))
    live(worker, days(0, 2, HOUR))
    worker.handle(event("EXPIRED", at=2 * DAY + MINUTE))
    assert live(worker, days(2, 30, HOUR)) == ([], [])


def test_link_is_looked_up_soon_after_its_expiry() -> None:
    worker = Worker()
    worker.handle(registration(at=0, expires_at=9 * DAY + HOUR))
    assert 9 * DAY + HOUR + MINUTE in live(worker, days(0, 10))[0]


def test_link_that_only_polling_found_ended_is_counted_once(worker: Worker) -> None:
    before = repairs()
    for _ in range(3):
        worker.handle(answer(5, "CANCELLED"))
    assert repairs() == before + 1


@pytest.mark.parametrize("verified", [True, False])
def test_link_whose_end_a_callback_reported_is_not_counted_as_repaired(verified: bool) -> None:
    before, worker = repairs(), Worker()
    worker.handle(event("PAID", verified=verified, at=1))
    worker.handle(answer(5, "PAID"))
    assert repairs() == before


def restored(
    links: int, partitions: int = 1, first: LinkEvent | None = None
) -> list[TablePartition[LinkStatus]]:
    """Return table partitions with so many links, each after one event."""
    worker, tables = Worker(), [new_table() for _ in range(partitions)]
    worker.handle(first or event("CREATED", at=0))
    row = worker.row().copy()
    for number in range(links):
        row["link_id"] = f"M{number}"
        encoded = CODECS.encode(codec.LINK_STATUS, row)
        tables[number % partitions].restore(message_key("acme", row["link_id"]), encoded)
    return tables


def new_poller(clock: Callable[[], float] = lambda: 0.0) -> Poller:
    return Poller(CODECS, {"acme": POLLED}, Intervals(), clock)


def ticks(poller: Poller, tables: list[TablePartition[LinkStatus]], now: int) -> list[bytes]:
    """Return the keys of the links that are due in one tick."""
    return [key for _, key, _ in poller.due(dict(enumerate(tables)), now)]


def scheduled(poller: Poller) -> int:
    return sum(len(schedule.turns) for schedule in poller._schedules.values())


def test_all_restored_links_are_looked_up_the_longest_overdue_first() -> None:
    tables, poller = restored(3 * LOOKUPS_PER_TICK, partitions=4), new_poller()
    first, second, third, fourth = (ticks(poller, tables, DAY) for _ in range(4))
    assert [*map(len, (first, second, third))] == [LOOKUPS_PER_TICK] * 3
    assert len({*first, *second, *third}) == 3 * LOOKUPS_PER_TICK
    assert fourth == []


@pytest.mark.parametrize("more", [0, 1])
def test_tick_sends_a_limited_number_of_lookups(more: int) -> None:
    tables, poller = restored(LOOKUPS_PER_TICK + more), new_poller()
    assert [len(ticks(poller, tables, DAY)) for _ in range(2)] == [LOOKUPS_PER_TICK, more]


@pytest.mark.parametrize("more", [0, 1])
def test_tick_forgets_a_limited_number_of_links(more: int) -> None:
    junk = claim("PROCESSING", at=0)
    tables, poller = restored(LINKS_PER_TICK + more, first=junk), new_poller()
    assert [len(ticks(poller, tables, GONE)) for _ in range(2)] == [LINKS_PER_TICK, more]


@pytest.mark.parametrize("more", [0, 1])
def test_tick_schedules_a_limited_number_of_rows(more: int) -> None:
    tables, poller = restored(ROWS_PER_TICK + more), new_poller()
    ticks(poller, tables, 0)
    assert scheduled(poller) == ROWS_PER_TICK
    ticks(poller, tables, 0)
    assert scheduled(poller) == ROWS_PER_TICK + more


def test_tick_schedules_for_a_limited_time() -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += SECONDS_PER_TICK / 4
        return now

    tables, poller = restored(100), new_poller(clock)
    ticks(poller, tables, 0)
    assert scheduled(poller) == 3


def test_tick_costs_what_is_due_and_not_what_is_open() -> None:
    """Rows that are scheduled are not decoded again before they are due, and not kept decoded."""
    (table,), poller = restored(100), new_poller()
    ticks(poller, [table], 0)
    decoded: list[bytes] = []
    decode = table._decode
    table._decode = lambda data: decoded.append(data) or decode(data)  # type: ignore[func-returns-value]
    assert ticks(poller, [table], SECOND) == []
    assert decoded == []
    assert len(ticks(poller, [table], DAY)) == len(decoded) == LOOKUPS_PER_TICK
    assert table._hot == {}


@pytest.mark.parametrize("again", [False, True])
def test_link_in_the_batch_that_creates_a_schedule_is_looked_up(again: bool) -> None:
    """The schedule of a new partition comes from its rows, and the batch's rows are pending."""
    worker = Worker()
    if again:
        worker.handle(now=DAY)
        worker.table = new_table()
    worker.handle(event("CREATED", at=DAY), now=DAY)
    lookups, _ = worker.handle(now=DAY + HOUR)
    assert len(lookups) == 1


def test_row_of_an_unknown_release_is_skipped_and_other_links_are_looked_up(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    newer = b"\0\0\0\0\7" + CODECS.encode(codec.LINK_STATUS, worker.row())[5:]
    worker.table.restore(b"acme:newer", newer)
    lookups, _ = worker.moved().handle(now=DAY)
    assert [lookup["link_id"] for lookup in lookups] == ["L1"]
    assert "schema id 7" in caplog.text


def test_d3_link_that_nothing_vouches_for_is_forgotten_and_starts_anew() -> None:
    worker = Worker()
    worker.handle(claim("PAID", at=0))
    denial = {**event("UNKNOWN", "not found", source="lookup", at=MINUTE), "denies": "PAID"}
    worker.handle(denial)  # type: ignore[arg-type]
    worker.handle(now=MINUTE + GONE - 1)
    assert worker.row()["anomalies"] == ["CLAIM_DENIED"]
    for each in (worker, worker.moved()):
        each.handle(now=MINUTE + GONE)
        assert each.table.get(KEY) is None
        assert len(each.table) == 0
        assert len(each.moved().table) == 0
        lookups, _ = each.handle(claim("PAID", at=2 * GONE))
        assert [lookup["claimed_status"] for lookup in lookups] == ["PAID"]
        row = each.row()
        assert (row["version"], row["first_seen_at"], row["anomalies"]) == (1, 2 * GONE, [])


@pytest.mark.parametrize(
    "vouches", [registration(), event("CREATED", source="lookup"), event("PAID", source="lookup")]
)
def test_d3_link_that_is_vouched_for_stays(vouches: LinkEvent) -> None:
    worker = Worker()
    worker.handle(claim("PAID", at=0), vouches)
    worker.handle(now=10 * GONE)
    assert worker.row()["claims"]


@pytest.mark.parametrize("at", [FORGET - 1, FORGET, GONE - 1])
@pytest.mark.parametrize("ticks", [(), (FORGET - 1,), (FORGET, FORGET + 1), (GONE - 1,)])
def test_d3_forgetting_depends_on_the_times_of_records_only(
    at: int, ticks: tuple[int, ...]
) -> None:
    """A rebuild ticks at other times than the worker did."""
    worker = Worker()
    worker.handle(claim("PROCESSING", at=0))
    for now in ticks:
        worker.handle(now=now)
    worker.handle(claim("PAID", at=at))
    assert set(worker.row()["claims"]) == ({"PAID"} if at >= FORGET else {"PAID", "PROCESSING"})
