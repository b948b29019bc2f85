"""Generated records for every topic, written past all clients."""

import gzip
import zlib
from functools import cache, partial
from random import Random
from typing import Any, NamedTuple

import cramjam
from hypothesis import strategies as st

from connectors.providers.registry import PROVIDERS
from schemas.topics import Topic, all_topics
from tests.fuzz.drawing import weighted
from tests.support import odd_records
from tests.support.avro import framed, sample
from tests.support.codecs import CODECS
from tests.support.odd_callbacks import bodies, header_maps
from tests.support.record_batches import GZIP, Compress, batch, record

PARTITIONS = 2
_LZ4, _ZSTD = 3, 4
_COMPRESSIONS: dict[int, Compress] = {
    GZIP: partial(gzip.compress, mtime=0),
    _LZ4: lambda data: bytes(cramjam.lz4.compress(data)),
    _ZSTD: lambda data: bytes(cramjam.zstd.compress(data)),
}
_LONGS = st.integers(-(2**63), 2**63 - 1)
_NAMES = st.sampled_from(
    [
        *("provider", "source", "verified", "received-at", "content-type", "content-encoding"),
        *("lookup-link", "lookup-claim", "lookup-status", "lookup-final", "traceparent", "stage"),
        *("reason", "origin", "replay-of", "event-id", "callback-id", "", "\xff"),
    ]
).map(lambda name: name.encode("latin-1"))
_HEADERS = st.lists(st.tuples(_NAMES, st.none() | st.binary(max_size=50)), max_size=6)


class Batch(NamedTuple):
    """A batch of records for a partition. `name` says what is odd about it."""

    topic: str
    partition: int
    name: str
    data: bytes


def batches() -> st.SearchStrategy[Batch]:
    """Return batches for all topics."""
    topics = list(all_topics(PROVIDERS))
    return st.sampled_from(topics).flatmap(
        lambda topic: weighted((6, _known(topic)), (24, _generated(topic)), (1, _large(topic)))
    )


def _known(topic: Topic[Any]) -> st.SearchStrategy[Batch]:
    return st.builds(
        lambda odd, partition: Batch(topic.name, partition, odd.name, odd.data),
        st.sampled_from(_odd(topic.name)),
        st.integers(0, PARTITIONS - 1),
    )


@cache
def _odd(name: str) -> list[odd_records.Odd]:
    (topic,) = (topic for topic in all_topics(PROVIDERS) if topic.name == name)
    return list(odd_records.odd_records(topic))


def _large(topic: Topic[Any]) -> st.SearchStrategy[Batch]:
    """Return batches whose records are a thousand times larger than what travels."""
    value = bytes(1 << 20)

    def build(number: int, codec: int, partition: int) -> Batch:
        records = [record(delta, b"ping:odd", value) for delta in range(number)]
        data = batch(records, compress=_COMPRESSIONS[codec], codec=codec)
        return Batch(topic.name, partition, f"{number} MiB, compression {codec}", data)

    numbers, codecs = st.sampled_from([4, 16, 64]), st.sampled_from(list(_COMPRESSIONS))
    return st.builds(build, numbers, codecs, st.integers(0, PARTITIONS - 1))


@st.composite
def _generated(draw: st.DrawFn, topic: Topic[Any]) -> Batch:
    number = draw(st.integers(1, 6))
    records = [record(delta, *draw(_records(topic))) for delta in range(number)]
    codec = draw(st.sampled_from([None, None, *_COMPRESSIONS]))
    at = draw(st.none() | st.sampled_from([-1, 0, 1, 2**62]) | _LONGS)
    partition = draw(st.integers(0, PARTITIONS - 1))
    compress = _COMPRESSIONS[codec] if codec else None
    data = batch(records, at=at, compress=compress, codec=codec or 0)
    return Batch(topic.name, partition, f"{number} records, compression {codec}, at {at}", data)


@st.composite
def _records(
    draw: st.DrawFn, topic: Topic[Any]
) -> tuple[bytes | None, bytes | None, list[tuple[bytes, bytes | None]]]:
    """Return key, value and headers."""
    headers = draw(_HEADERS)
    if topic.schema is None:
        provider = topic.name.rpartition(".")[2]
        provider = provider if provider in PROVIDERS else "ping"
        key: bytes | None = b"%s:odd" % provider.encode()
        value = draw(bodies(provider))
        headers += [
            (name.encode(), text.encode("utf-8", "replace"))
            for name, text in draw(header_maps(provider)).items()
        ]
    else:
        content = draw(_varied(sample(topic.schema.json)))
        named = next((n for n in ("link_id", "payment_id", "order_id") if n in content), "")
        key = f"{content.get('provider', '')}:{content.get(named, '')}".encode("utf-8", "replace")
        value = draw(_damaged(CODECS.encode(topic.schema, content)))
    key = draw(weighted((6, st.just(key)), (1, st.binary(max_size=20)), (1, st.none())))
    return key, draw(weighted((9, st.just(value)), (1, st.none()))), headers


def _damaged(value: bytes) -> st.SearchStrategy[bytes]:
    places = st.integers(0, max(len(value) - 1, 0))
    return weighted(
        (4, st.just(value)),
        (1, places.map(lambda place: value[:place])),
        (2, st.tuples(places, st.binary(min_size=1, max_size=3)).map(lambda t: _at(value, *t))),
        (1, st.binary(max_size=30).map(lambda more: value + more)),
        (1, st.integers(0, 2**32 - 1).map(lambda number: framed(number, value[5:]))),
        (1, st.just(zlib.compress(value))),
    )


def _at(value: bytes, place: int, other: bytes) -> bytes:
    return value[:place] + other + value[place + len(other) :]


@st.composite
def _varied(draw: st.DrawFn, content: Any) -> Any:
    """Return the sample record with other texts and numbers that its schema allows. A draw for each
    of its fields would take as long as the system needs for a hundred records.
    """
    texts = draw(st.lists(st.text(max_size=30).map(_encodable), min_size=1, max_size=3))
    texts += ["text", "odd", "EUR", "."]
    longs = [*draw(st.lists(_LONGS, max_size=2)), 1_700_000_000_000_001]
    return _replaced(content, Random(draw(st.integers(0, 2**32))), texts, longs)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _replaced(value: Any, chance: Random, texts: list[str], longs: list[int]) -> Any:
    if isinstance(value, dict):
        content = {name: _replaced(each, chance, texts, longs) for name, each in value.items()}
        providers = [*sorted(PROVIDERS), "", "other"]
        own = {"provider": chance.choice(providers)} if "provider" in content else {}
        return {**content, **own}
    if isinstance(value, list):
        return [_replaced(value[0], chance, texts, longs) for _ in range(chance.randrange(4))]
    if value == "text":
        return chance.choice(texts)
    if isinstance(value, int) and not isinstance(value, bool):
        is_long = value > 1_000_000
        return chance.choice(longs if is_long else [value, 0, -1, 2**31 - 1, -(2**31)])
    return value
