"""Time, injected: thirty days of silence, expiry, restarts and moves to another worker."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from prometheus_client import REGISTRY

from schemas import codec, topics
from schemas.records import Anomaly, LinkEvent, LinkStatus, LookupRequest
from schemas.topics import message_key
from streams.agents.polling import Poller
from streams.agents.track import Track
from streams.domain.polling import SECOND, Intervals
from streams.domain.rules import ProviderRules
from streams.engine.batch import Batch
from streams.engine.table import Partition
from streams.serial import Record
from tests.streams.domain.build import event, registration

MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
POLLED = ProviderRules(polls=True, can_look_up=True)
KEY = message_key("acme", "L1")


class Worker:
    """The agent `track` with one partition. `moved` is the same table restored by another one."""

    def __init__(self, rules: ProviderRules = POLLED, rows: Partition[LinkStatus] | None = None):
        self.rules = rules
        self.table: Partition[LinkStatus] = Partition(codec.LINK_STATUS)
        for key in rows.committed_keys() if rows else ():
            self.table.restore(key, rows.encoded(key) if rows else None)
        self.agent = Track({"acme": rules}, Poller({"acme": rules}, Intervals()))

    def moved(self) -> "Worker":
        return Worker(self.rules, self.table)

    def row(self) -> LinkStatus:
        row = self.table.get(KEY)
        assert row is not None
        return row

    def hear(self, fact: LinkEvent) -> list[Anomaly]:
        record = Record(topics.LINK_EVENTS.name, KEY, codec.LINK_EVENT.encode(fact), [], 0)
        batch = Batch("track", [record], {0: self.table}, "")  # type: ignore[list-item]
        batch.each(lambda message: self.agent(batch, message))
        assert topics.DEAD_LETTERS.name not in {output.topic for output in batch.outputs}
        return self._out(batch)[1]

    def hear_in_a_tick(
        self, fact: LinkEvent, now: int
    ) -> tuple[list[LookupRequest], list[Anomaly]]:
        """A record and the passage of time in one batch, as both come to a busy worker."""
        record = Record(topics.LINK_EVENTS.name, KEY, codec.LINK_EVENT.encode(fact), [], 0)
        batch = Batch("track", [record], {0: self.table}, "", now)  # type: ignore[list-item]
        batch.each(lambda message: self.agent(batch, message))
        self.agent.tick(batch, now)
        return self._out(batch)

    def tick(self, now: int) -> tuple[list[LookupRequest], list[Anomaly]]:
        batch = Batch("track", [], {0: self.table}, "", now)
        self.agent.tick(batch, now)
        return self._out(batch)

    def _out(self, batch: Batch) -> tuple[list[LookupRequest], list[Anomaly]]:
        list(self.table.changes())
        self.table.commit()
        batch.committed()
        sent = {o.topic: [] for o in batch.outputs}  # type: ignore[var-annotated]
        for output in batch.outputs:
            sent[output.topic].append(output.value)
        return (
            [codec.LOOKUP_REQUEST.decode(v) for v in sent.get("lookups", [])],
            [codec.ANOMALY.decode(v) for v in sent.get("anomalies", [])],
        )


def answer(at: int, status: str = "CREATED") -> LinkEvent:
    return event(status, source="poll", at=at)  # type: ignore[arg-type]


def days(first: int, last: int, step: int = MINUTE) -> Iterator[int]:
    return iter(range(first * DAY + step, last * DAY + step, step))


def live(
    worker: Worker, times: Iterator[int], answers: bool = True
) -> tuple[list[int], list[Anomaly]]:
    """When the link was asked about, and what a person was told."""
    asked: list[int] = []
    told: list[Anomaly] = []
    for now in times:
        questions, anomalies = worker.tick(now)
        told += anomalies
        for question in questions:
            assert (question["reason"], question["link_id"]) == ("POLL", "L1")
            asked.append(now)
            if answers:
                worker.hear(answer(now))
    return asked, told


def repairs() -> float:
    return REGISTRY.get_sample_value("linkstatus_repairs_total", {"provider": "acme"}) or 0.0


@pytest.mark.parametrize("answers", [True, False], ids=["answered", "in vain"])
def test_thirty_days_of_silence_are_asked_about_at_growing_intervals(answers: bool) -> None:
    worker = Worker()
    worker.hear(event("CREATED", at=0))
    asked, told = live(worker, days(0, 30), answers)
    waits = [later - earlier for earlier, later in pairwise(asked)]
    assert MINUTE <= asked[0] <= 2 * MINUTE
    assert 35 < len(asked) < 60
    assert all(later >= earlier - MINUTE for earlier, later in pairwise(waits))
    assert DAY * 4 // 5 <= max(waits) <= DAY + MINUTE
    assert told == []


def test_a_restart_or_a_move_neither_forgets_a_link_nor_asks_in_a_burst() -> None:
    stays, moves = Worker(), Worker()
    for worker in (stays, moves):
        worker.hear(event("CREATED", at=0))
    undisturbed, _ = live(stays, days(0, 10))
    asked: list[int] = []
    for day in range(10):
        asked += live(moves, days(day, day + 1))[0]
        moves = moves.moved()
    assert asked == undisturbed


def test_a_link_unanswered_for_days_is_asked_about_once_more_by_each_new_worker() -> None:
    worker = Worker()
    worker.hear(event("CREATED", at=0))
    asked, _ = live(worker, days(0, 3), answers=False)
    again, _ = live(worker.moved(), days(3, 4), answers=False)
    assert again[0] == 3 * DAY + MINUTE
    assert len(again) <= len(asked)


@pytest.mark.parametrize("claimed", ["PAID", "CANCELLED", "PROCESSING", "CREATED"])
def test_an_invented_id_whose_answers_cannot_be_read_is_not_asked_about_for_ever(
    claimed: str,
) -> None:
    worker = Worker()
    worker.hear(event(claimed, verified=False, at=0))  # type: ignore[arg-type]
    asked, _ = live(worker, days(0, 30, HOUR), answers=False)
    assert (len(asked), asked[-1] < 7 * DAY) == (12, True)


@pytest.mark.parametrize("end", ["PAID", "EXPIRED", "CANCELLED", "FAILED"])
def test_nothing_is_asked_after_the_end(end: str) -> None:
    worker = Worker()
    worker.hear(event("CREATED", at=0))
    assert live(worker, days(0, 1))[0]
    worker.hear(event(end, at=DAY))  # type: ignore[arg-type]
    assert live(worker, days(1, 30)) == ([], [])
    assert live(worker.moved(), days(1, 30, HOUR)) == ([], [])


def test_many_changes_of_a_row_lead_to_one_question() -> None:
    worker = Worker()
    worker.hear(event("CREATED", at=0))
    worker.tick(SECOND)
    for number in range(5):
        worker.hear(event("OPENED", verified=False, at=number, occurred_at=50 - number))
        worker.tick(2 * SECOND)
    questions, _ = worker.tick(2 * MINUTE)
    assert len(questions) == 1


@pytest.mark.parametrize(
    "rules",
    [POLLED, ProviderRules(can_look_up=True), ProviderRules()],
    ids=["polled", "no", "mute"],
)
def test_a_link_open_past_its_expiry_is_stale_once_with_the_evidence(rules: ProviderRules) -> None:
    worker = Worker(rules)
    worker.hear(registration(at=0, expires_at=2 * DAY))
    _, told = live(worker, days(0, 30, HOUR))
    (stale,) = told
    assert (stale["kind"], stale["at"] // HOUR) == ("STALE", 49)
    assert "expired at 1970-01-03T00:00:00Z and still CREATED" in stale["detail"]
    assert worker.row()["anomalies"] == ["STALE"]
    assert live(worker.moved(), days(30, 31))[1] == []


def test_a_link_that_ends_in_time_never_is_stale() -> None:
    worker = Worker()
    worker.hear(registration(at=0, expires_at=2 * DAY))
    live(worker, days(0, 2, HOUR))
    worker.hear(event("EXPIRED", at=2 * DAY + MINUTE))
    assert live(worker, days(2, 30, HOUR)) == ([], [])


def test_a_link_is_asked_about_soon_after_its_expiry() -> None:
    worker = Worker()
    worker.hear(registration(at=0, expires_at=9 * DAY + HOUR))
    asked, _ = live(worker, days(0, 10))
    assert 9 * DAY + HOUR + MINUTE in asked


def test_links_that_only_polling_brought_to_their_end_are_counted_once() -> None:
    before, worker = repairs(), Worker()
    worker.hear(event("CREATED", at=0))
    for _ in range(3):
        worker.hear(answer(5, "CANCELLED"))
    assert repairs() == before + 1


@pytest.mark.parametrize("told_by", ["claim", "callback"])
def test_a_link_whose_end_a_callback_told_was_not_repaired(told_by: str) -> None:
    before, worker = repairs(), Worker()
    worker.hear(event("PAID", verified=told_by == "callback", at=1))
    worker.hear(answer(5, "PAID"))
    assert repairs() == before


def test_thousands_of_links_restored_at_once_are_all_asked_about() -> None:
    worker = Worker()
    for number in range(5_000):
        link = event("CREATED", link_id=f"M{number}", at=0)
        row = worker.row() if number else None
        if row is None:
            worker.hear(event("CREATED", at=0))
            row = worker.row()
        encoded = codec.LINK_STATUS.encode({**row, "link_id": link["link_id"]})
        worker.table.restore(message_key("acme", link["link_id"]), encoded)
    later = worker.moved()
    asked = {q["link_id"] for tick in range(5) for q in later.tick(DAY + tick * SECOND)[0]}
    assert len(asked) == 5_001


def test_a_link_in_the_very_batch_that_begins_a_schedule_is_asked_about() -> None:
    # The schedule of a partition just assigned is made from its rows: one still pending is of them.
    worker = Worker()
    worker.hear_in_a_tick(event("CREATED", at=DAY), DAY)
    lookups, _ = worker.tick(DAY + HOUR)
    assert len(lookups) == 1


def test_a_link_in_the_first_batch_of_a_table_restored_anew_is_asked_about() -> None:
    worker = Worker()
    worker.tick(DAY)
    worker.table = Partition(codec.LINK_STATUS)
    worker.hear_in_a_tick(event("CREATED", at=DAY), DAY)
    lookups, _ = worker.tick(DAY + HOUR)
    assert len(lookups) == 1


def test_a_row_of_a_release_nobody_knows_is_left_out_and_its_neighbours_are_asked_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = Worker()
    worker.hear(event("CREATED", at=0))
    worker.table.restore(b"acme:newer", b"\0\0\0\0\7" + codec.LINK_STATUS.encode(worker.row())[5:])
    lookups, _ = worker.moved().tick(DAY)
    assert [one["link_id"] for one in lookups] == ["L1"]
    assert "schema id 7" in caplog.text
