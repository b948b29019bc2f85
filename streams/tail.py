"""Reading topics for people: without a group, committed records only, decoded."""

from collections.abc import Iterator
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, Message

from connectors import ungrouped
from connectors.kafka import Cluster
from schemas import codec
from streams.cli.errors import Failed
from streams.cli.terminal import as_json, harmless, readable
from streams.engine.batch import headers_of


def records(
    cluster: Cluster, topic: str, from_beginning: bool, exit_at_end: bool
) -> Iterator[Message]:
    """The records of a topic as they come. Raises Failed, KafkaException."""
    # Each vain try to connect would be a line: how it ends is said once.
    consumer = ungrouped.reader(cluster, "linkstatus-tail", log_level=0)
    try:
        name = cluster.topic(topic)
        start = OFFSET_BEGINNING if from_beginning else OFFSET_END
        numbers = _partitions(consumer, name)
        yield from ungrouped.read(consumer, name, numbers, start=start, follow=not exit_at_end)
    finally:
        consumer.close()


def _partitions(consumer: Consumer, name: str) -> list[int]:
    found = consumer.list_topics(timeout=ungrouped.TIMEOUT).topics
    if name not in found:
        names = ", ".join(sorted(topic for topic in found if not topic.startswith("__")))
        raise Failed(
            f"there is no topic {name}, or no right to see it; there are: {names or 'none at all'}"
        )
    return sorted(found[name].partitions)


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
