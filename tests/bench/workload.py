"""The workload: the same raw records for every engine, as the edge and the lookups publish them."""

import random
from typing import NamedTuple
from uuid import UUID

from confluent_kafka import Producer

from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.providers.base import Provider
from connectors.providers.registry import PROVIDERS
from schemas import topics
from schemas.topics import message_key
from tests.bench.bodies import LIFECYCLES, Sent

# 2026-01-01, and a callback a millisecond from then on.
_FIRST_SECOND = 1_767_225_600
CALLBACKS_A_LINK = 5
# A link's callbacks come within this part of the whole run.
_LIFETIME = 0.1


class RawRecord(NamedTuple):
    """`topic` is without prefix."""

    topic: str
    key: bytes | None
    value: bytes
    headers: list[tuple[str, str | bytes | None]]


def records(callbacks: int, seed: int = 1) -> list[RawRecord]:
    """Return at least `callbacks` records: five for each link, equal parts of all providers, in an
    order in which the lifecycles of the links overlap.
    """
    rng = random.Random(seed)
    links = -(-callbacks // CALLBACKS_A_LINK)
    timed: list[tuple[float, int, Sent]] = []
    for number in range(links):
        at = rng.random() * (1 - _LIFETIME)
        lifecycle = LIFECYCLES[number % len(LIFECYCLES)]
        for sent in lifecycle(rng, _FIRST_SECOND + int(at * callbacks / 1000)):
            timed.append((at, len(timed), sent))
            at += rng.random() * _LIFETIME / CALLBACKS_A_LINK
    timed.sort(key=lambda entry: entry[:2])
    providers = {name: kind(kind.Config()) for name, kind in PROVIDERS.items()}
    return [
        _record(providers[sent.provider], sent, _FIRST_SECOND * 1000 + number, rng)
        for number, (_, _, sent) in enumerate(timed)
    ]


def _record(provider: Provider, sent: Sent, received_ms: int, rng: random.Random) -> RawRecord:
    """Return the record with the key and headers of the edge, or of the lookup process."""
    is_answer = sent.lookup is not None
    identifier = sent.link_id if is_answer else provider.key(sent.body, sent.content_type)
    headers = {
        "provider": provider.name,
        "source": "lookup" if is_answer else "callback",
        "verified": "1" if sent.verified else "0",
        "received-at": str(received_ms),
        "content-type": sent.content_type,
        "callback-id": UUID(int=rng.getrandbits(128), version=4).hex,
        **dict(sent.headers),
    }
    if is_answer:
        headers |= {
            "lookup-link": sent.link_id or "",
            "lookup-reason": "CLAIM" if sent.lookup else "POLL",
            "lookup-status": "200",
        }
        if sent.lookup:
            headers["lookup-claim"] = sent.lookup
    return RawRecord(
        topics.callbacks(provider.name).name,
        message_key(provider.name, identifier) if identifier else None,
        sent.body,
        [(name, value.encode()) for name, value in headers.items()],
    )


def produce(cluster: Cluster, workload: list[RawRecord]) -> None:
    """Write the records to the raw topics and wait until the broker has them."""
    settings = {"partitioner": "murmur2_random", "linger.ms": 20, "acks": "all"}
    producer = Producer({**cluster.librdkafka(), **settings})
    for record in workload:
        topic = cluster.topic(record.topic)
        sync_producer.produce(producer, topic, record.value, record.key, headers=record.headers)
    if producer.flush(60):
        raise TimeoutError("the broker did not take the workload")
