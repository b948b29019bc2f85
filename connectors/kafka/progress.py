"""Progress: one definition of a stall, for every process that reads topics.

A process stalls while records wait and the offsets stay where it would start again: the group's
committed offsets, or the board's positions in its database, against the ends of the topics. What a
session thinks of itself does not count. After an error each partition must move, and not only one
of those held: a record or a table that ends every session hides among the others.

A task that waits at its provider's wish (a pause, Retry-After, an open circuit breaker) is no
stall, nor are the records in work behind it: they wait only if the process does not read on, or
does not commit what it has finished. A call, or a hand-over, that never ends is a stall, and so is
a job that a defect of ours holds up.

A lag that cannot be measured while the broker answers is a stall, too. The time of a broker that is
away does not count.
"""

import asyncio
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from prometheus_client import Gauge

from connectors.kafka import topic_reader
from connectors.kafka.cluster import Cluster
from connectors.reasons import reason_of

log = logging.getLogger(__name__)

STALLED = Gauge(
    "linkstatus_stalled",
    "1 while records wait and the reader makes no progress: for half the time to its end.",
    ["reader"],
)
_SECONDS = 5.0
_CAUSE_CHARACTERS = 150
_UNKNOWN = "unknown"
# A client takes few records, and does not wait a second (the default) before it fetches more.
_FEW = {"queued.min.messages": 1, "fetch.queue.backoff.ms": 10}

# A topic, with prefix, and a partition's number.
Partition = tuple[str, int]


class Stalled(Exception):
    """No progress for the set time; the message says where and why."""


@dataclass
class Trouble:
    """The last error of a reader, and its time by the monotonic clock."""

    text: str = "no error so far"
    at: float = -math.inf

    def note(self, error: BaseException) -> None:
        self.text, self.at = reason_of(error), time.monotonic()


@dataclass(frozen=True)
class Source:
    """A reader of topics. `group`, without prefix, names the client that measures; `topics` have
    their prefix. The thread of the measurement calls the functions.

    `held` returns the partitions that it reads now, or None if it is not in its group;
    `positions` from where on records wait, for those of the partitions where they should not;
    `in_work` what must end soon by itself, each with an error or an empty text;
    `report` takes how many records wait in its own partitions.
    """

    name: str
    group: str
    topics: Collection[str]
    trouble: Trouble
    held: Callable[[], Collection[Partition] | None]
    positions: Callable[[Collection[Partition]], Mapping[Partition, int]]
    in_work: Callable[[], Mapping[Hashable, str]] = dict
    report: Callable[[Mapping[Partition, int]], None] = lambda waiting: None


@dataclass
class _Watched:
    source: Source
    # What was there at the last check, and for how many seconds it has stood still.
    stands: dict[Hashable, float] = field(default_factory=dict)
    waiting: Mapping[Partition, int] = field(default_factory=dict)
    cause: str = ""
    checked_at: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return max(self.stands.values(), default=0.0)


class Progress:
    """Watches the sources of a process. `also` returns another error that may be the cause."""

    def __init__(
        self,
        cluster: Cluster,
        sources: Iterable[Source],
        stall_seconds: float,
        *,
        also: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._cluster = cluster
        self._stall_seconds = stall_seconds
        self._also = also
        self._watched = [_Watched(source) for source in sources]

    def why_not(self) -> str | None:
        """For /readyz: where no progress was made for half the time to the end, or None."""
        reasons = [self._reason(watched) for watched in self._watched if self._shows(watched)]
        return "\n".join(reasons) or None

    def _shows(self, watched: _Watched) -> bool:
        return watched.seconds >= self._stall_seconds / 2

    def _reason(self, watched: _Watched) -> str:
        number = sum(watched.waiting.values())
        what = f"{number} records wait" if number else "its work does not end"
        if _UNKNOWN in watched.stands:
            what = "its lag is unknown"
        return (
            f"{watched.source.name}: no progress for {watched.seconds:.0f} s, {what}; the last "
            f"error: {watched.cause[:_CAUSE_CHARACTERS]}; remove it (the log has more, and "
            f"`linkstatus doctor`); after {self._stall_seconds:.0f} s it starts again"
        )

    async def run(self, end_process: bool = True) -> None:
        """Watch, in a thread: a blocked event loop is a stall, too. At a stall exit with code 1, or
        raise Stalled where the process has other work to go on with.
        """
        loop, stop = asyncio.get_running_loop(), threading.Event()
        stalled: asyncio.Future[None] = loop.create_future()

        def watch() -> None:
            while not stop.wait(min(5.0, self._stall_seconds / 4)):
                if reason := self.check():
                    log.critical("%s: exiting for a restart", reason)
                    if end_process:
                        os._exit(1)
                    loop.call_soon_threadsafe(stalled.set_exception, Stalled(reason))
                    return

        for watched in self._watched:
            # After a restart within the process, what still stands goes on to show.
            watched.stands = dict.fromkeys(watched.stands, self._stall_seconds / 2)
        threading.Thread(target=watch, name="progress", daemon=True).start()
        try:
            await stalled
        finally:
            stop.set()

    def check(self) -> str | None:
        """Check every source once. Return the reason if one has stalled for the whole time."""
        for watched in self._watched:
            self._check(watched)
            STALLED.labels(watched.source.name).set(self._shows(watched))
            if watched.seconds > self._stall_seconds:
                return self._reason(watched)
        return None

    def _check(self, watched: _Watched) -> None:
        source, failing = watched.source, self._failing(watched.source)
        reader = topic_reader.reader(self._cluster, source.group, **_FEW)
        in_work: Mapping[Hashable, str] = {}
        try:
            in_work = source.in_work()
            held = source.held()
            own = _all(reader, source.topics) if held is None else held
            positions = source.positions(_all(reader, source.topics) if failing else own)
            waiting = _waiting(reader, positions)
            watched.waiting = waiting
            source.report({p: number for p, number in waiting.items() if p in own})
            still = tuple((partition, positions[partition]) for partition in sorted(waiting))
            stands: set[Hashable] = {*in_work, *(still if failing or not still else (still,))}
            unknown = None
        except Exception as error:
            unknown = error
            log.info("%s: lag unknown: %s", source.name, error)
            if not _answers(reader, source.topics):
                watched.checked_at = time.monotonic()
                return
            stands = {*watched.stands, *in_work, _UNKNOWN}
        finally:
            reader.close()
        self._count(watched, stands)
        errors = (source.trouble.text if failing else "", *in_work.values(), self._also() or "")
        watched.cause = next(filter(None, errors), str(unknown or "none"))

    def _failing(self, source: Source) -> bool:
        return time.monotonic() - source.trouble.at < self._stall_seconds

    def _count(self, watched: _Watched, stands: Iterable[Hashable]) -> None:
        """Add the time since the last check, but not that in which the process was stopped: it gets
        four checks at least.
        """
        now = time.monotonic()
        passed = min(now - watched.checked_at, self._stall_seconds / 4)
        before, watched.checked_at = watched.stands, now
        watched.stands = {one: before[one] + passed if one in before else 0.0 for one in stands}


def records_behind(cluster: Cluster, group: str, topics: Collection[str]) -> int:
    """Return how many records of the topics (with prefix) are behind what the group (without) has
    committed. Raises KafkaException.
    """
    reader = topic_reader.reader(cluster, group, **_FEW)
    try:
        positions = group_positions(cluster, group, _all(reader, topics))
        return sum(_waiting(reader, positions).values())
    finally:
        reader.close()


def _all(reader: Consumer, names: Collection[str]) -> list[Partition]:
    """The partitions of those topics that exist."""
    topics = topic_reader.existing(reader, names, _SECONDS)
    return [(name, number) for name, topic in topics.items() for number in topic.partitions]


def _answers(reader: Consumer, names: Collection[str]) -> bool:
    try:
        topic_reader.existing(reader, names, _SECONDS)
    except KafkaException:
        return False
    return True


def _waiting(reader: Consumer, positions: Mapping[Partition, int]) -> dict[Partition, int]:
    """Return how many offsets are behind each position, for partitions with a record there: the
    markers of transactions take offsets too, and nothing commits them. Raises KafkaException.
    """
    ends = _offsets(reader, positions, OFFSET_END)
    behind = [partition for partition, end in ends.items() if positions[partition] < end]
    beginnings = _offsets(reader, behind, OFFSET_BEGINNING)
    numbers = {p: ends[p] - max(positions[p], beginnings[p]) for p in behind}
    unread = {p: positions[p] for p, number in numbers.items() if number > 0}
    return {partition: numbers[partition] for partition in _with_record(reader, unread)}


def _offsets(
    reader: Consumer, partitions: Collection[Partition], place: int
) -> dict[Partition, int]:
    """Return the offset of each partition's beginning or end. A broker is asked once for all its
    partitions: Kafka takes either place as a time. Raises KafkaException.
    """
    places = [TopicPartition(*partition, place) for partition in partitions]
    offsets = reader.offsets_for_times(places, timeout=_SECONDS) if places else []
    for offset in offsets:
        if offset.error is not None:
            raise KafkaException(offset.error)
    return {(offset.topic, offset.partition): offset.offset for offset in offsets}


def _with_record(reader: Consumer, positions: Mapping[Partition, int]) -> list[Partition]:
    reader.assign([TopicPartition(*p, max(offset, 0)) for p, offset in positions.items()])
    unread, found = set(positions), []
    while unread:
        messages = reader.consume(1, _SECONDS)
        if not messages:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "looking for a record"))
        partition, error = (messages[0].topic(), messages[0].partition()), messages[0].error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        if partition in unread:
            unread.discard(partition)
            reader.pause([TopicPartition(*partition)])
            found += [partition] if error is None else []
    return found


def group_positions(
    cluster: Cluster, group: str, partitions: Collection[Partition]
) -> dict[Partition, int]:
    """Return the offsets that the group (without prefix) has committed; those of transactions that
    are still open do not count. Raises KafkaException.
    """
    ours = [TopicPartition(*partition) for partition in partitions]
    offsets = topic_reader.stable_offsets(cluster, group, ours) if ours else []
    for partition in offsets:
        if partition.error is not None:
            raise KafkaException(partition.error)
    return {(partition.topic, partition.partition): partition.offset for partition in offsets}
