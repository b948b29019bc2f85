"""Avro in Confluent framing: byte 0x00, the schema's id in four bytes, the Avro body.

fastavro is called directly (schemaless): on this project's records it is the fastest Avro codec for
Python by a wide margin, and the frame is five bytes. Without an external registry a schema's id is
derived from the schema itself, so that every process agrees without asking anyone.

What another release wrote is read too: the id names its schema, and Avro resolves that to ours.
"""

import json
import struct
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, get_args

import fastavro

from schemas import records as r
from schemas import versions
from schemas.versions import Written

_MAGIC = 0
T = TypeVar("T")


class BadRecord(ValueError):
    """The bytes are no record of this schema; the message says why."""


class SchemaAway(Exception):
    """Whether the record can be read is not known: who knows its schema id does not answer now."""


class Codec(Generic[T]):
    """Encodes and decodes the records of one schema, `schemas/{name}.avsc`."""

    def __init__(self, name: str, folder: Path = versions.FOLDER) -> None:
        self.name = name
        self.text = versions.current(name, folder).text
        self.json = json.loads(self.text)
        _, self.full_name, self.fingerprint, self._schema = versions.written(self.text)
        self.write_as(self.fingerprint)

    def write_as(self, number: int) -> None:
        """Makes `number` the id that records are written with."""
        self.id = number
        self.frame = struct.pack(">bI", _MAGIC, number)

    def encode(self, record: T) -> bytes:
        """The framed bytes of `record`. Raises BadRecord if it does not fit the schema."""
        out = BytesIO()
        out.write(self.frame)
        try:
            fastavro.schemaless_writer(out, self._schema, cast("dict[str, Any]", record))
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise BadRecord(f"no {self.full_name}: {error}") from error
        return out.getvalue()

    def decode(self, data: bytes | None) -> T:
        """The record in framed bytes, as this release knows it. Raises BadRecord for anything that
        is not one, whole and nothing more; SchemaAway.
        """
        if data is None:
            raise BadRecord(f"no value where a {self.full_name} was expected")
        other = None if data[:5] == self.frame else self._other(data)
        body = BytesIO(data)
        body.seek(5)
        try:
            if other is None:
                record = fastavro.schemaless_reader(body, self._schema, None)
            else:
                record = fastavro.schemaless_reader(body, other, self._schema)
        except Exception as error:  # fastavro raises many kinds on broken bytes: all mean the same
            raise BadRecord(f"broken {self.full_name}: {error!r}") from error
        if body.tell() != len(data):
            raise BadRecord(f"broken {self.full_name}: {len(data) - body.tell()} bytes too many")
        return cast("T", record)

    def asks(self, data: bytes | None) -> bool:
        """Whether to decode these bytes asks somebody else first, and so may take long."""
        if _asked is None or data is None or data[:5] == self.frame:
            return False
        if len(data) < 5 or data[0] != _MAGIC:
            return False
        number = int.from_bytes(data[1:5], "big")
        return number not in versions.known() and number not in _told

    def learn(self, data: bytes | None) -> None:
        """Asks, if need be, what these bytes were written with, so that to decode them does not.
        Raises SchemaAway.
        """
        if data is not None and self.asks(data):
            schema_of(int.from_bytes(data[1:5], "big"))

    def is_ours(self, data: bytes) -> bool:
        """Whether bytes not in our frame were written with this very schema, under another id.
        Raises BadRecord, SchemaAway.
        """
        return self._other(data) is None

    def _other(self, data: bytes) -> Any:
        """The schema the bytes were written with if it is another than ours. Raises BadRecord."""
        if len(data) < 5 or data[0] != _MAGIC:
            raise BadRecord(f"not in Confluent framing where a {self.full_name} was expected")
        number = int.from_bytes(data[1:5], "big")
        found = schema_of(number)
        if found is None or found.full_name != self.full_name:
            said = f" ({found.full_name})" if found else ""
            raise BadRecord(f"schema id {number}{said} where {self.full_name} has {self.id}")
        return None if found.fingerprint == self.fingerprint else found.parsed


LINK_REGISTERED = Codec[r.LinkRegistered]("link_registered")
LINK_EVENT = Codec[r.LinkEvent]("link_event")
LINK_STATUS = Codec[r.LinkStatus]("link_status")
LOOKUP_REQUEST = Codec[r.LookupRequest]("lookup_request")
PAYMENT_EVENT = Codec[r.PaymentEvent]("payment_event")
PAYMENT_LINK = Codec[r.PaymentLink]("payment_link")
ORDER_EVENT = Codec[r.OrderEvent]("order_event")
ORDER_STATUS = Codec[r.OrderStatus]("order_status")
ORDER_CLOSE = Codec[r.OrderClose]("order_close")
SETTLEMENT = Codec[r.Settlement]("settlement")
ORDER_UPDATE = Codec[r.OrderUpdate]("order_update")
ANOMALY = Codec[r.Anomaly]("anomaly")
NOTICE = Codec[r.Notice]("notice")
REPLAY = Codec[r.Replay]("replay")

ALL: tuple[Codec[Any], ...] = (
    LINK_REGISTERED,
    LINK_EVENT,
    LINK_STATUS,
    LOOKUP_REQUEST,
    PAYMENT_EVENT,
    PAYMENT_LINK,
    ORDER_EVENT,
    ORDER_STATUS,
    ORDER_CLOSE,
    SETTLEMENT,
    ORDER_UPDATE,
    ANOMALY,
    NOTICE,
    REPLAY,
)


Ask = Callable[[int], str | None]
_asked: Ask | None = None
_told: dict[int, Written] = {}


def ask(whom: Ask | None) -> None:
    """From now on `whom` is asked for the schemas of ids that this release cannot name. It returns
    None for those it does not know, and raises SchemaAway when it cannot tell.
    """
    global _asked
    _asked = whom
    _told.clear()


def write_ids(ids: Mapping[str, int]) -> None:
    """Makes `ids`, by the schemas' names, those that records are written with."""
    for one in ALL:
        one.write_as(ids.get(one.name, one.fingerprint))


def schema_of(number: int) -> Written | None:
    """What records of this schema id were written with; None if nobody knows."""
    found = versions.known().get(number) or _told.get(number)
    if found is None and _asked is not None and (text := _asked(number)) is not None:
        try:
            found = _told[number] = versions.written(text)
        except versions.NO_RECORD:
            return None
    return found


def decode_any(data: bytes) -> tuple[Codec[Any], Any]:
    """The codec and record of framed bytes of any of our schemas. Raises BadRecord."""
    found = schema_of(int.from_bytes(data[1:5], "big")) if len(data) >= 5 and not data[0] else None
    for codec in ALL:
        if found is not None and codec.full_name == found.full_name:
            return codec, codec.decode(data)
    raise BadRecord("not in Confluent framing with a schema id of ours")


_STATUSES: tuple[r.Status, ...] = get_args(r.Status)


def peek_status(encoded_row: bytes) -> r.Status:
    """The status of an encoded `LinkStatus`, without decoding one of ours: its first field is the
    enum, one zigzag byte. Raises BadRecord, SchemaAway for a row of another release.
    """
    if encoded_row[:5] == LINK_STATUS.frame or LINK_STATUS.is_ours(encoded_row):
        return _STATUSES[encoded_row[5] >> 1]
    return LINK_STATUS.decode(encoded_row)["status"]
