"""Reading topics for people: without a group, committed records only, decoded."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from connectors.kafka import Cluster
from schemas import codec
from schemas.topics import DEAD_LETTERS
from streams.cli.terminal import Failed, as_json, harmless, readable
from streams.engine.batch import headers_of

_TIMEOUT = 15.0
# What dead-lettering added: not part of the record as received.
_ADDED = frozenset({"stage", "reason", "origin"})


def _consumer(cluster: Cluster) -> Consumer:
    return Consumer(
        {
            **cluster.librdkafka(),
            # Asked for by the client, joined by nobody: partitions are assigned by hand.
            "group.id": f"{cluster.prefix}linkstatus-tail",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
        }
    )


def _partitions(consumer: Consumer, name: str, offset: int) -> list[TopicPartition]:
    found = consumer.list_topics(timeout=_TIMEOUT).topics
    if name not in found:
        names = ", ".join(sorted(topic for topic in found if not topic.startswith("__")))
        raise Failed(
            f"there is no topic {name}, or no right to see it; there are: {names or 'none at all'}"
        )
    return [TopicPartition(name, number, offset) for number in sorted(found[name].partitions)]


def records(
    cluster: Cluster, topic: str, from_beginning: bool, exit_at_end: bool
) -> Iterator[Message]:
    """The records of a topic as they come. Raises Failed, KafkaException."""
    consumer = _consumer(cluster)
    try:
        start = OFFSET_BEGINNING if from_beginning else OFFSET_END
        partitions = _partitions(consumer, cluster.topic(topic), start)
        consumer.assign(partitions)
        unread = {partition.partition for partition in partitions}
        while unread or not exit_at_end:
            for message in consumer.consume(500, 0.1):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                elif not error.retriable():
                    raise KafkaException(error)
    finally:
        consumer.close()


def described(message: Message) -> dict[str, Any]:
    """A record as an object of plain types: what `tail --json` prints."""
    return {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "key": readable(message.key()),
        "headers": {name: readable(value) for name, value in headers_of(message)},
        "value": decoded(message.value()),
    }


def decoded(value: bytes | None) -> Any:
    """The Avro record if it is one of ours, else text, else base64."""
    if value is None:
        return None
    try:
        return codec.decode_any(value)[1]
    except codec.BadRecord:
        return readable(value)


def one_line(line: dict[str, Any]) -> str:
    """A described record for people."""
    value = line["value"] if isinstance(line["value"], str) else as_json(line["value"])
    return harmless(f"{line['partition']}/{line['offset']}  {line['key']}  {value}")


def dead_letters(cluster: Cluster) -> Iterator[Message]:
    """All of them."""
    return records(cluster, DEAD_LETTERS.name, from_beginning=True, exit_at_end=True)


def dead_letter(cluster: Cluster, where: str) -> Message:
    """The dead letter at PARTITION/OFFSET. Raises Failed."""
    partition, _, offset = where.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise Failed(f"{where} is no PARTITION/OFFSET, such as 0/17")
    name = cluster.topic(DEAD_LETTERS.name)
    consumer = _consumer(cluster)
    try:
        if int(partition) not in {p.partition for p in _partitions(consumer, name, 0)}:
            raise Failed(f"there is no dead letter {where}")
        consumer.assign([TopicPartition(name, int(partition), int(offset))])
        message = consumer.poll(_TIMEOUT)
    finally:
        consumer.close()
    if message is None or message.error() or message.offset() != int(offset):
        raise Failed(f"there is no dead letter {where}")
    return message


def replay(cluster: Cluster, letters: Sequence[Message]) -> Counter[str]:
    """Publishes each to the topic it came from; returns how many by topic. Raises Failed."""
    producer = Producer(
        {
            **cluster.librdkafka(),
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",  # as everywhere: a key has one partition
        }
    )
    failures: list[str] = []
    sent: Counter[str] = Counter()

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(f"{message.topic()}: {error}")

    for letter in letters:
        topic = cluster.topic(_origin(letter))
        producer.produce(
            topic, letter.value(), letter.key(), headers=_headers(letter), on_delivery=delivered
        )
        sent[topic] += 1
    if producer.flush(_TIMEOUT) or failures:
        raise Failed(f"not all were published again: {'; '.join(failures) or 'no answer'}")
    return sent


def _origin(letter: Message) -> str:
    """The topic in `origin`, which is topic/partition/offset, the topic without prefix."""
    found = dict(headers_of(letter)).get("origin") or b""
    topic = found.decode(errors="replace").rsplit("/", 2)[0]
    if not topic:
        raise Failed(f"dead letter {letter.partition()}/{letter.offset()} does not say its origin")
    return topic


def _headers(letter: Message) -> list[tuple[str, str | bytes | None]]:
    """As received, but said to be a replay."""
    dropped = _ADDED | {"source"}
    return [*(h for h in headers_of(letter) if h[0] not in dropped), ("source", b"replay")]
