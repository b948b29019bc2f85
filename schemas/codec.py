"""Avro in Confluent framing: byte 0x00, the schema's id in four bytes, the Avro body.

fastavro is called directly (schemaless): on this project's records it is the fastest Avro codec for
Python by a wide margin, and the frame is five bytes. Without an external registry a schema's id is
derived from the schema itself, so that every process agrees without asking anyone.
"""

import hashlib
import json
import struct
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, get_args

import fastavro
from fastavro.schema import parse_schema, to_parsing_canonical_form

from schemas import records as r

FOLDER = Path(__file__).parent
_MAGIC = 0
T = TypeVar("T")


class BadRecord(ValueError):
    """The bytes are no record of this schema; the message says why."""


def derived_id(schema: Any) -> int:
    """A positive 31-bit id from SHA-256 over the schema's Parsing Canonical Form (Avro 1.11,
    "Schema Fingerprints").
    """
    digest = hashlib.sha256(to_parsing_canonical_form(schema).encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF or 1


def _plain(schema: Any) -> Any:
    """The schema without logical types, so that times stay integers inside; the bytes are the
    same.
    """
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    return schema


class Codec(Generic[T]):
    """Encodes and decodes the records of one schema, `schemas/{name}.avsc`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = (FOLDER / f"{name}.avsc").read_text()
        self.json = json.loads(self.text)
        self.full_name: str = f"{self.json['namespace']}.{self.json['name']}"
        self.id = derived_id(self.json)
        self.frame = struct.pack(">bI", _MAGIC, self.id)
        self._schema = parse_schema(_plain(self.json))

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
        """The record in framed bytes. Raises BadRecord for anything that is not one, whole and
        nothing more.
        """
        if data is None:
            raise BadRecord(f"no value where a {self.full_name} was expected")
        if data[:5] != self.frame:
            raise BadRecord(self._why_not(data))
        body = BytesIO(data)
        body.seek(5)
        try:
            record = fastavro.schemaless_reader(body, self._schema, None)
        except Exception as error:  # fastavro raises many kinds on broken bytes: all mean the same
            raise BadRecord(f"broken {self.full_name}: {error!r}") from error
        if body.tell() != len(data):
            raise BadRecord(f"broken {self.full_name}: {len(data) - body.tell()} bytes too many")
        return cast("T", record)

    def _why_not(self, data: bytes) -> str:
        if len(data) < 5 or data[0] != _MAGIC:
            return f"not in Confluent framing where a {self.full_name} was expected"
        found = int.from_bytes(data[1:5], "big")
        return f"schema id {found} where {self.full_name} has {self.id}"


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
)


@cache
def by_id() -> dict[int, Codec[Any]]:
    """Every codec by its schema id."""
    return {codec.id: codec for codec in ALL}


def decode_any(data: bytes) -> tuple[Codec[Any], Any]:
    """The codec and record of framed bytes of any of our schemas. Raises BadRecord."""
    codec = by_id().get(int.from_bytes(data[1:5], "big")) if len(data) >= 5 else None
    if codec is None:
        raise BadRecord("not in Confluent framing with a schema id of ours")
    return codec, codec.decode(data)


_STATUSES: tuple[r.Status, ...] = get_args(r.Status)


def peek_status(encoded_row: bytes) -> r.Status:
    """The status of an encoded `LinkStatus` without decoding it: its first field is the enum, one
    zigzag byte.
    """
    return _STATUSES[encoded_row[5] >> 1]
