"""The records of `payouts-raw`: answers and files as received, in parts that fit into a record."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from hashlib import sha256
from typing import Literal, cast

from connectors.kafka.sync_producer import Record
from schemas.headers import Headers
from schemas.limits import PAYOUT_PART_BYTES
from schemas.times import DAY, day_of, start_of

_SOURCES = ("api", "file")
_MOST_PARTS = 1000


@dataclass(frozen=True)
class Payload:
    """An answer of a provider's API, or a file, about whole UTC days.

    `start` and `end` are in microseconds, `end` is exclusive. `id` follows from the content, so
    that the same content again is known.
    """

    provider: str
    source: Literal["api", "file"]
    start: int
    end: int
    body: bytes

    @cached_property
    def id(self) -> str:
        about = f"{self.provider}/{self.source}/{self.start}/{self.end}/".encode()
        return sha256(about + self.body).hexdigest()

    def days(self) -> range:
        """Return the beginnings of the days."""
        return range(self.start, self.end, DAY)


def records(payload: Payload) -> Iterator[Record]:
    """Yield key, value and headers of each record of the payload."""
    size, body = PAYOUT_PART_BYTES, payload.body
    parts = max(1, -(-len(body) // size))
    kind = b"application/json" if payload.source == "api" else b"text/csv"
    for part in range(parts):
        headers: Headers = [
            ("provider", payload.provider.encode()),
            ("payout-source", payload.source.encode()),
            ("payout-from", str(day_of(payload.start)).encode()),
            ("payout-to", str(day_of(payload.end)).encode()),
            ("content-type", kind),
            ("payload-id", payload.id.encode()),
            ("part", b"%d" % (part + 1)),
            ("parts", b"%d" % parts),
        ]
        yield payload.provider.encode(), body[part * size : (part + 1) * size], headers


@dataclass(slots=True)
class Assembler:
    """Puts the parts together again. Parts of a payload that was not stored whole are left out."""

    _parts: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def add(self, headers: Mapping[str, str], value: bytes) -> Payload | None:
        """Return the payload whose last missing part this is, or None. A record that is no part of
        ours is left out.
        """
        try:
            number, count = int(headers["part"]), int(headers["parts"])
            start = start_of(date.fromisoformat(headers["payout-from"]))
            end = start_of(date.fromisoformat(headers["payout-to"]))
            identifier, source = headers["payload-id"], headers["payout-source"]
        except (KeyError, ValueError):
            return None
        if not 1 <= number <= count <= _MOST_PARTS or source not in _SOURCES:
            return None
        parts = self._parts.setdefault(identifier, {})
        parts[number] = value
        if len(parts) < count:
            return None
        del self._parts[identifier]
        body = b"".join(parts[n] for n in sorted(parts))
        source = cast("Literal['api', 'file']", source)
        payload = Payload(headers.get("provider", ""), source, start, end, body)
        # Parts of two payloads with one id, or changed ones, are none of ours.
        return payload if payload.id == identifier else None


def newest_by_day(payloads: Iterable[Payload]) -> dict[int, Payload]:
    """Return the payload that counts for each day: the last one, if they are in their order."""
    return {day: payload for payload in payloads for day in payload.days()}
