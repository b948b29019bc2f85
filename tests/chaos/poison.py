"""Poison: input from the field that once stopped others, or was acknowledged and not kept."""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from random import Random

from confluent_kafka import Producer

from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from connectors.providers.simulator import Callback
from schemas import codec
from schemas.limits import HEAD_BYTES
from schemas.records import MOST_LINKS, LinkRegistered
from schemas.topics import LINKS, message_key
from tests.chaos.traffic import Kind, Sending, unknown_status
from tests.support.avro import framed
from tests.support.codecs import CODECS

_Odd = tuple[Kind, bytes, Mapping[str, str]]
# An offer of HTTP/2, as `curl --http2` makes it.
_UPGRADE = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABk"}
_TIMES = ("2026-12-31T23:59:60Z", "", 1767225600, {"a": 1})


def poison(seed: str, links: Sequence[tuple[str, str]], spread: float) -> list[Sending]:
    """Return odd callbacks of each provider, once each. The edge takes all but the refused ones."""
    chance = Random(f"poison {seed}")
    return [
        Sending(chance.uniform(0, spread), provider, Callback(body), kind, headers)
        for provider in sorted(PROVIDERS)
        for kind, body, headers in _callbacks(provider, _link_of(provider, links), seed)
    ]


def _link_of(provider: str, links: Sequence[tuple[str, str]]) -> str:
    return next(link_id for name, link_id in links if name == provider)


def _callbacks(provider: str, link_id: str, mark: str) -> Iterator[_Odd]:
    def body(name: str) -> bytes:
        return json.dumps(unknown_status(provider, link_id, f"{name} {mark}")).encode()

    yield "poison", b"\xef\xbb\xbf" + body("byte order mark"), {}
    if provider != "truelayer":  # its simulator signs only text
        yield "poison", gzip.compress(body("gzip")), {"content-encoding": "gzip"}
    yield "poison", body("h2c"), _UPGRADE
    yield "poison", body("NUL").replace(b"NUL", b"\\u0000"), {}
    yield "poison", b"[" * 5_000 + mark.encode(), {}
    yield "refused", b"", {}
    yield "refused", body("brotli"), {"content-encoding": "br"}
    yield "refused", body("large"), {"content-type": "a" * (2 * HEAD_BYTES)}
    if provider == "ping":
        for at in _TIMES:
            claim = {"payment_link_id": link_id, "status": "CREATED", "occured_at": at}
            yield "poison", json.dumps(claim | {"mark": mark}).encode(), {}
    if provider == "truelayer":
        settled = {"type": "payment_settled", "event_version": 1, "event_id": f"settled-{mark}"}
        odd = {"payment_id": f"payment-{mark}", "metadata": [], "settled_at": ""}
        yield "poison", json.dumps({**settled, **odd}).encode(), {}


class BadRegistrations:
    """Another program that writes to `links` what no registration is."""

    def __init__(self, cluster: Cluster, partitions: int) -> None:
        self._topic = cluster.topic(LINKS.name)
        self._partitions = partitions
        self._producer = Producer(sync_producer.settings(cluster) | {"log_level": 0})
        self._count = 0

    def write(self) -> None:
        """Hand the records to the producer, which tries for minutes."""
        for value in _bad_values(f"poison-{self._count}"):
            key = message_key("ping", f"poison-{self._count}")
            self._producer.produce(
                self._topic,
                value,
                key,
                partition=self._count % self._partitions,
                headers=[("traceparent", None), ("event-id", None)],
            )
            self._count += 1

    def is_written(self) -> bool:
        self._producer.poll(0)
        return len(self._producer) == 0


def _bad_values(link_id: str) -> Iterator[bytes]:
    good: LinkRegistered = {
        "provider": "ping",
        "link_id": link_id,
        "order_id": None,
        "amount_minor": 100,
        "currency": "SEK",
        "expires_at": None,
        "links_in_order": None,
        "registered_at": 1_767_225_600_000_000,
    }
    whole = CODECS.encode(codec.LINK_REGISTERED, good)
    yield from (b"{}", b"", whole[: len(whole) // 2], framed(0x7FFFFFF1, whole[5:]))
    nanoseconds = good["registered_at"] * 1000
    odd: tuple[LinkRegistered, ...] = (
        {**good, "link_id": ""},
        {**good, "link_id": "a\nb"},
        {**good, "provider": "unknown"},
        {**good, "currency": "sek"},
        {**good, "links_in_order": MOST_LINKS + 1},
        {**good, "registered_at": nanoseconds},
    )
    for link in odd:
        yield CODECS.encode(codec.LINK_REGISTERED, link)
