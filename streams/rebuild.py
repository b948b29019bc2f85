"""The same records into an empty cluster give the same orders, closes and event ids: done, and
compared.

What came in from outside is copied under another prefix and goes through the rules once more, one
record after the other in the order in which it came. Questions to providers are not asked again:
their answers are among what came in.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from connectors import producing
from connectors.kafka import Cluster
from connectors.provider import Provider
from schemas import topics
from schemas.codec import BadRecord, Codec
from streams.chronicle import Chronicle, Place
from streams.domain.polling import SECOND, Intervals
from streams.domain.rules import ProviderRules
from streams.engine.batch import Output
from streams.serial import TABLES, Record, Serial
from streams.tail import records

# What stays within `work`, and what would make somebody act a second time.
_NOT_WRITTEN = frozenset(
    {topics.PAYMENT_EVENTS.name, topics.ORDER_EVENTS.name, topics.LOOKUPS.name}
)
# Arrival decides these, and nothing else follows from them.
_OF_ARRIVAL = ("version", "changed_at")
_FLUSH_SECONDS = 60.0

Advance = Callable[[int], None]


class NotWritten(Exception):
    """Kafka did not take everything; the message says what."""


def inputs(providers: Mapping[str, Provider]) -> tuple[str, ...]:
    """The topics that all else follows from. A registration of the same moment comes first."""
    raw = (topics.callbacks(name).name for name in providers)
    return topics.LINKS.name, *raw, topics.ORDER_UPDATES.name


class Rebuild:
    """From what came in at `source`, everything anew under the prefix of `target`, whose topics
    exist and are empty.
    """

    def __init__(
        self,
        source: Cluster,
        target: Cluster,
        providers: Mapping[str, Provider],
        rules: Mapping[str, ProviderRules],
        intervals: Intervals,
    ) -> None:
        self._target = target
        self._chronicle = Chronicle(source, inputs(providers))
        self._serial = Serial(providers, rules, intervals)
        self._failures: list[str] = []
        self._producer = Producer(
            {
                **producing.settings(target),
                "linger.ms": 20,
            }
        )
        self._first: dict[Place, int] = {}

    @property
    def partitions(self) -> int:
        """How many the source's topics have."""
        return self._chronicle.partitions(topics.LINKS.name)

    @property
    def total(self) -> int:
        """How many records came in, at most: some of the offsets may be gaps."""
        return self._chronicle.total

    def run(self, now: int, advance: Advance = lambda _: None) -> int | None:
        """Does it all, `now` (microseconds) being when it ends. Returns from when on everything
        that came in is still kept (microseconds), or None when nothing has been deleted yet.
        Raises NotWritten, KafkaException.
        """
        ticked = 0
        for record in self._chronicle.read():
            self._first.setdefault((record.topic_name, record.number), record.at * 1000)
            self._copy(record)
            if record.at * 1000 >= ticked + SECOND:
                ticked = record.at * 1000
                self._write(self._serial.tick(ticked))
            self._write(self._serial.take(record))
            advance(1)
        self._write(self._serial.tick(max(now, ticked)))
        for stage, topic in TABLES.items():
            self._write(Output(topic.name, key, row, None) for key, row in self._serial.rows(stage))
        if self._producer.flush(_FLUSH_SECONDS) or self._failures:
            raise NotWritten(f"not all was written: {self._failures[:3] or 'no answer'}")
        cut = [self._first.get(place, now) for place in self._chronicle.cut if place[0] != "links"]
        return max(cut, default=None)

    def _copy(self, record: Record) -> None:
        self._produce(
            Output(record.topic_name, record.key_bytes, record.value_bytes, record.header_list),
            record.number,
            record.at,
        )

    def _write(self, outputs: Iterator[Output]) -> None:
        for output in outputs:
            if output.topic not in _NOT_WRITTEN:
                self._produce(output)

    def _produce(self, output: Output, partition: int = -1, at: int = 0) -> None:
        while True:
            try:
                self._producer.produce(
                    self._target.topic(output.topic),
                    output.value,
                    output.key,
                    partition,
                    on_delivery=self._delivered,
                    timestamp=at,
                    headers=list(output.headers or []),
                )
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(f"{message.topic()}: {error}")


@dataclass(slots=True)
class Comparison:
    """Of one kind of thing: how many are the same, and the names of those that are not. `older` are
    from before what is still kept, and cannot be rebuilt.
    """

    what: str
    same: int = 0
    older: int = 0
    missing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return not (self.missing or self.added or self.different)


# What is compared: its name, its topic, and the time by which it is too old (None: of any age).
_COMPARED: tuple[tuple[str, topics.Topic[Any], str], ...] = (
    ("links", topics.LINK_STATUS, "first_seen_at"),
    ("orders", topics.ORDERS, "changed_at"),
    ("closes", topics.ORDER_CLOSE, "decided_at"),
    ("settlements", topics.SETTLEMENT, "decided_at"),
    ("link events", topics.LINK_EVENTS, "received_at"),
    ("anomalies", topics.ANOMALIES, "at"),
)
# Of these the id alone is compared: their texts name who was first to tell, and where.
_BY_ID = frozenset({"link events", "anomalies"})


def compare(source: Cluster, target: Cluster, kept_since: int | None) -> list[Comparison]:
    """What stands under both prefixes, side by side."""
    return [
        _compared(
            what, _contents(source, what, topic, by), _contents(target, what, topic, by), kept_since
        )
        for what, topic, by in _COMPARED
    ]


def _compared(
    what: str,
    was: Mapping[str, tuple[bytes, int]],
    now: Mapping[str, tuple[bytes, int]],
    kept_since: int | None,
) -> Comparison:
    found = Comparison(what)
    for name in sorted(was.keys() | now.keys()):
        digest, at = was.get(name, (None, None))
        again = now.get(name, (None, None))[0]
        if digest == again:
            found.same += 1
        elif kept_since is not None and at is not None and at < kept_since:
            found.older += 1
        elif again is None:
            found.missing.append(name)
        elif digest is None:
            found.added.append(name)
        else:
            found.different.append(name)
    return found


def _contents(
    cluster: Cluster, what: str, topic: topics.Topic[Any], by: str
) -> dict[str, tuple[bytes, int]]:
    """Name -> digest of the content, and its time; of a compacted topic the newest."""
    codec: Codec[Any] | None = topic.codec
    found: dict[str, tuple[bytes, int]] = {}
    if codec is None:
        return found
    for message in records(cluster, topic.name, from_beginning=True, exit_at_end=True):
        try:
            record = codec.decode(message.value())
        except BadRecord:
            continue  # a tombstone, or what somebody else wrote: dead-lettered on its way
        key = message.key() or b""
        name = key.decode() if topic.keep_ms is None else f"{key.decode()} {record['event_id']}"
        found[name] = (b"" if what in _BY_ID else _digest(record), record[by])
    return found


def _digest(record: Mapping[str, Any]) -> bytes:
    content = {name: value for name, value in record.items() if name not in _OF_ARRIVAL}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
