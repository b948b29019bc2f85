"""Publishing what must be there before anything else happens, where no event loop runs."""

from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from connectors.kafka import LARGEST_RECORD, Cluster

Record = tuple[bytes, bytes, list[tuple[str, bytes]]]


class NotTaken(Exception):
    """Kafka has not acknowledged everything, or nobody can tell; the message says why."""


def settings(cluster: Cluster) -> dict[str, Any]:
    """For a librdkafka producer that loses nothing, doubles nothing, and puts a key into the
    partition where everybody else does.
    """
    return {
        **cluster.librdkafka(),
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "message.max.bytes": LARGEST_RECORD,
    }


def publish(cluster: Cluster, topic: str, records: Iterable[Record], seconds: float) -> None:
    """Publishes some records (key, value, headers) and waits until they are there. `topic` is
    without prefix. Raises NotTaken, KafkaException.
    """
    failures: list[str] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(str(error))

    # What it tries again is no news (a broker's first start, say); what fails is raised.
    quiet = {"message.timeout.ms": int(seconds * 1000), "log_level": 3}
    producer = Producer({**settings(cluster), **quiet})
    for key, value, headers in records:
        producer.produce(
            cluster.topic(topic), value, key, headers=[*headers], on_delivery=delivered
        )
    if producer.flush(seconds + 1) or failures:
        raise NotTaken(failures[0] if failures else "Kafka does not answer")
