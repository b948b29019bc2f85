"""Publishing with librdkafka, where no event loop runs."""

from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from connectors.kafka.cluster import Cluster
from connectors.reasons import reason_of
from schemas.headers import Headers
from schemas.limits import RECORD_BYTES

Record = tuple[bytes, bytes, Headers]


class NotAcknowledged(Exception):
    """Kafka did not acknowledge every record in time; the message gives the reason."""


def settings(cluster: Cluster) -> dict[str, Any]:
    """Return settings for a producer that loses and doubles nothing, and that puts a key into the
    same partition as all other clients do.
    """
    return {
        **cluster.librdkafka(),
        "acks": "all",
        "enable.idempotence": True,
        # Of two requests in flight, a partition that has just got its leader may refuse the first
        # and take the second: librdkafka then counts the first as written (KAFKA-15591).
        "max.in.flight.requests.per.connection": 1,
        "partitioner": "murmur2_random",
        "message.max.bytes": RECORD_BYTES,
    }


def produce(
    producer: Producer, topic: str, value: bytes | None, key: bytes | None, **options: Any
) -> None:
    """Hand a record to the producer. While its local queue is full, let deliveries make room.
    `topic` is with the prefix; `options` as of `Producer.produce`.
    """
    while True:
        try:
            return producer.produce(topic, value, key, **options)
        except BufferError:
            producer.poll(0.1)


def publish(
    cluster: Cluster,
    topic: str,
    records: Iterable[Record],
    seconds: float,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Publish records (key, value, headers) and wait until Kafka has them; call `advance` with how
    many more it has. `topic` is without the prefix. Raises NotAcknowledged, KafkaException.
    """
    failures: list[str] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is None:
            advance(1)
        else:
            failures.append(reason_of(error))

    # A retry (at a broker's first start, for example) is not worth a log line; a failure is raised.
    quiet = {"message.timeout.ms": int(seconds * 1000), "log_level": 3}
    producer = Producer({**settings(cluster), **quiet})
    for key, value, headers in records:
        produce(
            producer, cluster.topic(topic), value, key, headers=[*headers], on_delivery=delivered
        )
        producer.poll(0)
    if producer.flush(seconds + 1) or failures:
        raise NotAcknowledged(failures[0] if failures else "Kafka does not answer")
