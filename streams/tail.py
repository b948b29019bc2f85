"""Reading topics for people: without a group, committed records only, decoded."""

from collections.abc import Iterator
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from connectors.kafka import Cluster
from schemas import codec
from streams.cli.terminal import Failed, as_json, harmless, readable
from streams.engine.batch import headers_of

_TIMEOUT = 15.0


def _consumer(cluster: Cluster) -> Consumer:
    return Consumer(
        {
            **cluster.librdkafka(),
            # Each vain try to connect would be a line: how it ends is said once.
            "log_level": 0,
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
