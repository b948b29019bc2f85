"""The simulated `confluent_kafka.Consumer`: the methods that the engine and the readers call."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_INVALID,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from tests.simulation.cluster import SimulatedKafka
from tests.simulation.groups import Committed, Partition
from tests.simulation.log import Entry, PartitionLog
from tests.simulation.membership import Event, Membership
from tests.simulation.scheduler import Process, Thread

# An empty fetch is tried again after this time.
_FETCH_SECONDS = 0.1
_MOST_FETCHED = 200
_CREATE_TIME = 1


@dataclass(frozen=True, slots=True)
class GroupMetadata:
    """What a producer needs to know of the consumer whose offsets it commits (KIP-447)."""

    group: str
    member_id: str
    generation: int


class SimulatedConsumer:
    """A consumer of a process. Without a process it is outside of time: each call is immediate, and
    it also reads what retention and compaction have deleted.
    """

    def __init__(
        self, process: Process | None, kafka: SimulatedKafka, settings: Mapping[str, Any], **_: Any
    ) -> None:
        self._process, self._kafka, self._settings = process, kafka, settings
        self._is_committed = settings.get("isolation.level", "read_committed") == "read_committed"
        self._reports_end = bool(settings.get("enable.partition.eof"))
        self._fetch_kind = "Fetch rows" if self._reports_end else "Fetch"
        self._membership: Membership | None = None
        self._callbacks: dict[str, Callable[..., Any]] = {}
        self._buffer: deque[Message] = deque()
        self._positions: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        # The end offset of the last fetch, and where the end was last reported.
        self._ends: dict[Partition, int] = {}
        self._reported: dict[Partition, int] = {}
        self._waiting: Thread | None = None

    def subscribe(
        self,
        topics: list[str],
        on_assign: Callable[..., Any] | None = None,
        on_revoke: Callable[..., Any] | None = None,
        on_lost: Callable[..., Any] | None = None,
    ) -> None:
        assert self._process is not None
        callbacks = {"assign": on_assign, "revoke": on_revoke, "lost": on_lost or on_revoke}
        self._callbacks = {kind: call for kind, call in callbacks.items() if call is not None}
        self._membership = Membership(
            self._process, self._kafka, self._settings, tuple(sorted(topics)), self._notify
        )

    def unsubscribe(self) -> None:
        if self._membership is not None:
            self._membership.leave()

    def _notify(self) -> None:
        if self._waiting is not None:
            self._waiting.wake()

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        deadline = self._now() + timeout
        if self._is_behind_records():
            self._fetch(max(0.0, timeout))
        while True:
            self._serve()
            if not self._buffer and (timeout > 0 or self._process is None):
                self._fetch(max(0.0, deadline - self._now()))
            left = deadline - self._now()
            if self._buffer or left <= 0 or self._process is None:
                number = min(num_messages, len(self._buffer))
                return [self._buffer.popleft() for _ in range(number)]
            self._wait(min(left, _FETCH_SECONDS))

    def _is_behind_records(self) -> bool:
        """Whether a rebalance waits, and records that librdkafka had fetched before it."""
        is_waiting = self._membership is not None and bool(self._membership.events)
        return is_waiting and not self._buffer and self._kafka.random.random() < 0.3

    def _now(self) -> float:
        return self._kafka.scheduler.now

    def _wait(self, seconds: float) -> None:
        assert self._process is not None
        self._waiting = self._process.thread
        if not (self._membership and self._membership.events):
            self._waiting.wait(seconds)
        self._waiting = None

    def _serve(self) -> None:
        """Call the callback of a rebalance, now or at the next call."""
        if self._process is not None:
            self._process.check_alive()
        if self._membership is None or not self._membership.events:
            return
        if not self._buffer or self._kafka.random.random() < 0.7:
            self._handle(self._membership.events.popleft())

    def _handle(self, event: Event) -> None:
        assert self._membership is not None
        partitions = [TopicPartition(*partition) for partition in event.partitions]
        if event.kind in self._callbacks:
            self._callbacks[event.kind](self, partitions)
        elif event.kind == "assign":
            self.assign([TopicPartition(*one, OFFSET_INVALID) for one in event.partitions])
        if event.kind != "assign":
            self.unassign()
            self._membership.join()

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._buffer.clear()
        self._reported.clear()
        self._positions = {(p.topic, p.partition): self._start(p) for p in partitions}

    def _start(self, partition: TopicPartition) -> int:
        place = partition.topic, partition.partition
        if partition.offset == OFFSET_END:
            return self._kafka.log(*place).end
        if partition.offset == OFFSET_INVALID and "group.id" in self._settings:
            known = self._kafka.group(self._settings["group.id"]).committed.get(place)
            return known.offset if known else 0
        return 0 if partition.offset == OFFSET_BEGINNING else partition.offset

    def unassign(self) -> None:
        self._buffer.clear()
        self._positions.clear()

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(*partition) for partition in self._positions]

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        paused = {(p.topic, p.partition) for p in partitions}
        self._paused |= paused
        kept: deque[Message] = deque()
        for message in self._buffer:
            place = message.topic() or "", message.partition() or 0
            if place not in paused:
                kept.append(message)
            elif place in self._positions:
                # What was fetched already is fetched again after the pause.
                offset = message.offset() or 0
                self._positions[place] = min(self._positions[place], offset)
        self._buffer = kept

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._paused -= {(p.topic, p.partition) for p in partitions}

    def _fetch(self, seconds: float) -> None:
        positions = {p: at for p, at in self._positions.items() if p not in self._paused}
        if not any(self._has_answer(place, at) for place, at in positions.items()):
            # The broker holds the request back.
            return
        try:
            fetched = self._kafka.network.call(
                self._process, self._fetch_kind, lambda: self._read(positions), seconds
            )
        except KafkaException:
            return
        for partition, (entries, place, end) in fetched.items():
            if self._positions.get(partition) != positions[partition]:
                # A callback has assigned other partitions in between.
                continue
            self._positions[partition], self._ends[partition] = place, end
            self._buffer.extend(message(partition, entry) for entry in entries)
            if self._reports_end and not entries and self._reported.get(partition) != place:
                self._reported[partition] = place
                error = KafkaError(KafkaError._PARTITION_EOF)
                topic, number = partition
                self._buffer.append(
                    Message(topic=topic, partition=number, offset=place, error=error)
                )

    def _has_answer(self, place: Partition, offset: int) -> bool:
        if self._reports_end or self._process is None:
            return True
        log = self._kafka.log(*place)
        return offset < (log.last_stable if self._is_committed else log.end)

    def _read(self, positions: Mapping[Partition, int]) -> dict[Partition, Any]:
        """Read from some of the partitions, in any order: a broker does not answer for all."""
        fetched: dict[Partition, Any] = {}
        logs = [
            (place, self._kafka.log(*place), offset)
            for place, offset in positions.items()
            if self._kafka.has_leader(place)
        ]
        if self._process is None:
            for place, log, offset in logs:
                entries = [entry for entry in log.history() if entry.offset >= offset]
                fetched[place] = entries, log.last_stable, log.end
            return fetched
        if not self._reports_end:
            logs = [each for each in logs if self._has_answer(each[0], each[2])]
        limit, random = _MOST_FETCHED, self._kafka.random
        random.shuffle(logs)
        for place, log, offset in logs:
            if limit > 0 and random.random() < 0.9:
                entries, after = log.read(offset, min(limit, 50), self._is_committed)
                limit -= len(entries)
                fetched[place] = entries, after, log.end
        return fetched

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        def handle() -> Any:
            names = self._kafka.topics if topic is None else [topic]
            return SimpleNamespace(topics={name: self._metadata(name) for name in names})

        return self._kafka.network.call(self._process, "Metadata", handle, timeout)

    def _metadata(self, topic: str) -> Any:
        logs = self._kafka.topics.get(topic)
        error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART) if logs is None else None
        partitions = {number: SimpleNamespace(leader=0) for number in range(len(logs or []))}
        return SimpleNamespace(error=error, partitions=partitions)

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = -1, cached: bool = False
    ) -> tuple[int, int]:
        place = partition.topic, partition.partition
        if cached:
            return 0, self._ends.get(place, -1001)

        def handle() -> tuple[int, int]:
            start, end, last_stable = self._log(place).offsets()
            return start, last_stable if self._is_committed else end

        return self._kafka.network.call(self._process, "ListOffsets", handle, timeout)

    def offsets_for_times(
        self, partitions: list[TopicPartition], timeout: float = -1
    ) -> list[TopicPartition]:
        """Of the times, only the beginning and the end."""

        def handle() -> list[TopicPartition]:
            return [TopicPartition(p.topic, p.partition, self._place(p)) for p in partitions]

        return self._kafka.network.call(self._process, "ListOffsets", handle, timeout)

    def _place(self, partition: TopicPartition) -> int:
        log = self._log((partition.topic, partition.partition))
        start, end, last_stable = log.offsets()
        if partition.offset == OFFSET_BEGINNING:
            return start
        return last_stable if self._is_committed else end

    def _log(self, place: Partition) -> PartitionLog:
        return self._kafka.log(*place)

    def committed(
        self, partitions: list[TopicPartition], timeout: float = -1
    ) -> list[TopicPartition]:
        places = [(p.topic, p.partition) for p in partitions]
        group = self._kafka.group(self._settings["group.id"])
        found = self._kafka.network.call(
            self._process,
            "OffsetFetch",
            lambda: group.offsets(places, self._is_committed),
            timeout,
            wait_for=[KafkaError.UNSTABLE_OFFSET_COMMIT],
        )
        return [_offset(place, found[place]) for place in places]

    def commit(self, offsets: list[TopicPartition], asynchronous: bool = True) -> None:
        assert not asynchronous
        group = self._kafka.group(self._settings["group.id"])
        committed = {(p.topic, p.partition): Committed(p.offset, p.metadata) for p in offsets}
        self._kafka.network.call(
            self._process, "OffsetCommit", lambda: group.commit(committed), 10.0
        )

    def consumer_group_metadata(self) -> GroupMetadata:
        membership = self._membership
        if membership is None:
            return GroupMetadata(self._settings["group.id"], "", -1)
        return GroupMetadata(
            self._settings["group.id"], membership.member_id, membership.generation
        )

    def memberid(self) -> str:
        return self._membership.member_id if self._membership else ""

    def close(self) -> None:
        """Revoke, leave the group, and forget everything."""
        if self._process is None:
            return
        self._process.check_alive()
        membership, self._membership = self._membership, None
        if membership is not None:
            if self._positions and "revoke" in self._callbacks:
                self._callbacks["revoke"](self, self.assignment())
            membership.leave()
        self.unassign()


def message(partition: Partition, entry: Entry) -> Message:
    """Return the entry as a consumer of the partition sees it."""
    record, (topic, number) = entry.record, partition
    assert record is not None
    return Message(
        topic=topic,
        partition=number,
        offset=entry.offset,
        key=record.key,
        value=record.value,
        headers=list(record.headers),
        timestamp=(_CREATE_TIME, record.at),
    )


def _offset(place: Partition, known: Committed | None) -> TopicPartition:
    if known is None:
        return TopicPartition(*place, OFFSET_INVALID)
    return TopicPartition(*place, known.offset, known.metadata or "")
