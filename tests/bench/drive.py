"""Posts callbacks to the edge at a steady rate, and reads what follows from each."""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Iterator
from typing import Any, NamedTuple

from confluent_kafka import TopicPartition

from connectors.kafka import topic_reader
from connectors.kafka.cluster import Cluster
from connectors.kafka.partitioner import partition_of
from schemas.topics import Topic, message_key
from tests.bench.bodies import peach_headers, uuid4
from tests.bench.load import request

PARTITIONS = 8
_POSTERS = 32
_GIVE_UP_SECONDS = 120.0

Posts = Iterator[tuple[bytes, bytes]]


class Passed(NamedTuple):
    """One callback: when it was due to be posted, and when its output was read (seconds of
    `perf_counter`). A post that waits for its connection counts as sent when it was due.
    """

    partition: int
    sent: float
    seen: float


def posts() -> Posts:
    """Yield keys and POSTs of verified Peach callbacks, each completing another link; the keys
    belong to the partitions in turn.
    """
    rng = random.Random(3)
    waiting: list[list[str]] = [[] for _ in range(PARTITIONS)]
    for number in itertools.cycle(range(PARTITIONS)):
        while not waiting[number]:
            link_id = uuid4(rng)
            key = message_key("peach", link_id)
            waiting[partition_of(key, PARTITIONS)].append(link_id)
        link_id = waiting[number].pop()
        body = b'{"status": "completed", "paymentId": "%s"}' % link_id.encode()
        headers = peach_headers(body, uuid4(rng), 1_767_225_600)
        yield message_key("peach", link_id), request("/callbacks/peach", body, headers)


async def drive(
    cluster: Cluster, port: int, topic: Topic[Any], rate: int, sending: Posts, until: Awaitable[Any]
) -> list[Passed]:
    """Post at the rate until `until` has ended or nothing is left to send. Return the callbacks in
    the order in which their first record was read from `topic`.
    """
    reader = _Reader(cluster, topic)
    reading = asyncio.create_task(asyncio.to_thread(reader.read))
    poster = _Poster(port, rate, sending)
    posting = asyncio.create_task(poster.run())
    try:
        # An answer of the edge other than 200 ends it, too.
        await asyncio.wait([asyncio.ensure_future(until), posting], return_when="FIRST_COMPLETED")
        poster.ended.set()
        await posting
    finally:
        reader.expected = len(poster.sent)
    await reading
    return [
        Passed(partition, poster.sent[key], seen)
        for key, (partition, seen) in reader.seen.items()
        if key in poster.sent
    ]


class _Poster:
    def __init__(self, port: int, rate: int, sending: Posts) -> None:
        self._port, self._rate, self._sending = port, rate, sending
        self.sent: dict[bytes, float] = {}
        self.ended = asyncio.Event()

    async def run(self) -> None:
        streams = [await asyncio.open_connection("127.0.0.1", self._port) for _ in range(_POSTERS)]
        first = time.perf_counter()
        posters = (
            self._post(number, *stream, first=first) for number, stream in enumerate(streams)
        )
        await asyncio.gather(*posters)

    async def _post(
        self,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        first: float,
    ) -> None:
        for index in itertools.count(number, _POSTERS):
            due = first + index / self._rate
            await asyncio.sleep(due - time.perf_counter())
            post = None if self.ended.is_set() else next(self._sending, None)
            if post is None:
                break
            self.sent[post[0]] = due
            writer.write(post[1])
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"the edge answered {answer!r}")
        writer.close()


class _Reader:
    """Reads in a thread until all `expected` keys have been seen."""

    def __init__(self, cluster: Cluster, topic: Topic[Any]) -> None:
        self.expected: int | None = None
        self.seen: dict[bytes, tuple[int, float]] = {}
        self._consumer = topic_reader.reader(cluster, "drive", **{"enable.partition.eof": False})
        name = cluster.topic(topic.name)
        ends = [TopicPartition(name, number) for number in range(PARTITIONS)]
        for end in ends:
            end.offset = self._consumer.get_watermark_offsets(end, timeout=10)[1]
        self._consumer.assign(ends)

    def read(self) -> None:
        give_up_at = time.monotonic() + _GIVE_UP_SECONDS
        while self.expected is None or len(self.seen) < self.expected:
            if self.expected is None:
                give_up_at = time.monotonic() + _GIVE_UP_SECONDS
            for message in self._consumer.consume(100, 0.001) or self._consumer.consume(1, 0.5):
                key = message.key()
                if message.error() is None and isinstance(key, bytes):
                    self.seen.setdefault(key, (message.partition() or 0, time.perf_counter()))
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"{(self.expected or 0) - len(self.seen):,} outputs are missing")
        self._consumer.close()
