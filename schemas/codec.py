"""Avro in Confluent framing: byte 0x00, the schema id in four bytes, the Avro body.

Exact records go through generated code (schemas/compiler.py); fastavro decides all other cases, and
its words explain what is wrong. Without an external registry a schema's id is derived from the
schema itself, so that all processes agree without a registry.

Records of other releases are read too: the id names the writer's schema, and Avro resolves that to
ours.
"""

import json
import struct
from collections.abc import Callable, Mapping
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, get_args

import fastavro

from schemas import compiler, payouts, versions
from schemas import records as r
from schemas.refund_records import Refund
from schemas.versions import WriterSchema

_MAGIC = 0
T = TypeVar("T")


class BadRecord(ValueError):
    """The bytes are not a record of the schema; the message says why."""


class SchemaAway(Exception):
    """The schema of an id cannot be looked up now, so the record cannot be decoded yet."""


class Schema(Generic[T]):
    """One of our schemas, `schemas/{name}.avsc`, as this release writes it.

    `fingerprint` is the id derived from the schema, `parsed` what fastavro works with.
    """

    def __init__(self, name: str, folder: Path = versions.FOLDER) -> None:
        self.name = name
        self.text = versions.current(name, folder)
        self.json = json.loads(self.text)
        _, self.full_name, self.fingerprint, self.parsed = versions.parse(self.text)

    @cached_property
    def encode_exact(self) -> compiler.Encoder:
        """Encode an exact record behind a frame; any exception means that fastavro decides."""
        return compiler.encoder(self.parsed)

    @cached_property
    def decode_exact(self) -> compiler.Decoder:
        """Decode bytes of this very schema; any exception means that fastavro decides."""
        return compiler.decoder(self.parsed)

    def __repr__(self) -> str:
        return f"Schema({self.name!r})"


LINK_REGISTERED = Schema[r.LinkRegistered]("link_registered")
LINK_EVENT = Schema[r.LinkEvent]("link_event")
LINK_STATUS = Schema[r.LinkStatus]("link_status")
LOOKUP_REQUEST = Schema[r.LookupRequest]("lookup_request")
PAYMENT_EVENT = Schema[r.PaymentEvent]("payment_event")
PAYMENT_LINK = Schema[r.PaymentLink]("payment_link")
ORDER_EVENT = Schema[r.OrderEvent]("order_event")
ORDER_STATUS = Schema[r.OrderStatus]("order_status")
ORDER_CLOSE = Schema[r.OrderClose]("order_close")
ORDER_CORRECTION = Schema[r.OrderCorrection]("order_correction")
SETTLEMENT = Schema[r.Settlement]("settlement")
REFUND = Schema[Refund]("refund")
ORDER_UPDATE = Schema[r.OrderUpdate]("order_update")
ANOMALY = Schema[r.Anomaly]("anomaly")
NOTICE = Schema[r.Notice]("notice")
REFUSED_CALLBACKS = Schema[r.RefusedCallbacks]("refused_callbacks")
REPLAY = Schema[r.Replay]("replay")
PAYOUT = Schema[payouts.Payout]("payout")
RECONCILIATION = Schema[payouts.Reconciliation]("reconciliation")
IMPORT_WINDOW = Schema[r.ImportWindow]("import_window")

ALL: tuple[Schema[Any], ...] = tuple(
    constant for constant in list(vars().values()) if isinstance(constant, Schema)
)
_OURS = {schema.full_name: schema for schema in ALL}
_STATUSES: tuple[r.Status, ...] = get_args(r.Status)
_STATES: tuple[r.OrderState, ...] = get_args(r.OrderState)

# Returns the text of the schema of an id, None for an unknown id. Raises SchemaAway.
Find = Callable[[int], str | None]


class _Frames(dict[Schema[Any], bytes]):
    """The first five bytes of the records of each schema."""

    def __init__(self, write_ids: Mapping[str, int]) -> None:
        super().__init__()
        self._write_ids = write_ids

    def __missing__(self, schema: Schema[Any]) -> bytes:
        number = self._write_ids.get(schema.name, schema.fingerprint)
        frame = self[schema] = struct.pack(">bI", _MAGIC, number)
        return frame


class Codecs:
    """Encodes and decodes records, and knows which schema an id stands for.

    `write_ids` maps names of schemas to the ids that records are written with; the fingerprint is
    used for a schema without one. `find` looks up ids that this release does not know.
    """

    def __init__(
        self, write_ids: Mapping[str, int] | None = None, find: Find | None = None
    ) -> None:
        self._frames = _Frames({} if write_ids is None else write_ids)
        self._find = find
        self._found: dict[int, WriterSchema] = {}

    def write_id(self, schema: Schema[Any]) -> int:
        """Return the id that records of `schema` are written with."""
        return int.from_bytes(self._frames[schema][1:], "big")

    def texts(self) -> dict[int, str]:
        """Return the texts of our schemas by the ids that records are written with."""
        return {self.write_id(schema): schema.text for schema in ALL}

    def encode(self, schema: Schema[T], record: T) -> bytes:
        """Return `record` as framed bytes. Raises BadRecord if it does not fit the schema."""
        frame = self._frames[schema]
        try:
            return schema.encode_exact(frame, cast("dict[str, Any]", record))
        except Exception:  # not exact: fastavro decides
            return _encode(schema, frame, record)

    def decode(self, schema: Schema[T], data: bytes | None) -> T:
        """Return the record in framed bytes, as this release knows it. Raises BadRecord for bytes
        that are not exactly one record of `schema`, and SchemaAway.
        """
        if data is None:
            raise BadRecord(f"no value where a {schema.full_name} was expected")
        if data[:5] == self._frames[schema] or (writer := self._writer(schema, data)) is None:
            try:
                return cast("T", schema.decode_exact(data, 5))
            except Exception:  # not exact: fastavro decides
                writer = schema.parsed
        return cast("T", _decode(schema, data, writer))

    def _writer(self, schema: Schema[Any], data: bytes) -> Any:
        """Return the schema the bytes were written with, None if it is ours. Raises BadRecord."""
        number = _id_in(data)
        if number is None:
            raise BadRecord(f"not in Confluent framing where a {schema.full_name} was expected")
        written = self.schema_of(number)
        if written is None or written.full_name != schema.full_name:
            of = f" ({written.full_name})" if written else ""
            expected = self.write_id(schema)
            raise BadRecord(f"schema id {number}{of} where {schema.full_name} has {expected}")
        return None if written.fingerprint == schema.fingerprint else written.parsed

    def decode_any(self, data: bytes) -> tuple[Schema[Any], Any]:
        """Return schema and record of framed bytes of any of our schemas. Raises BadRecord,
        SchemaAway.
        """
        number = _id_in(data)
        written = None if number is None else self.schema_of(number)
        schema = written and _OURS.get(written.full_name)
        if schema is None:
            raise BadRecord("not in Confluent framing with a schema id of ours")
        return schema, self.decode(schema, data)

    def schema_of(self, number: int) -> WriterSchema | None:
        """Return the schema of an id, None for an unknown id. Raises SchemaAway."""
        known = versions.known().get(number) or self._found.get(number)
        if known is None and self._find is not None and (text := self._find(number)) is not None:
            try:
                known = self._found[number] = versions.parse(text)
            except versions.NOT_A_RECORD:
                return None
        return known

    def needs_lookup(self, schema: Schema[Any], data: bytes | None) -> bool:
        """Whether decoding these bytes looks up their id first, which may take long."""
        if self._find is None or data is None or data[:5] == self._frames[schema]:
            return False
        number = _id_in(data)
        return not (number is None or number in versions.known() or number in self._found)

    def learn(self, schema: Schema[Any], data: bytes | None) -> None:
        """Look up the id of these bytes if needed, so that decoding them does not. Raises
        SchemaAway.
        """
        if data is not None and self.needs_lookup(schema, data):
            self.schema_of(int.from_bytes(data[1:5], "big"))

    def peek_status(self, row: bytes) -> r.Status:
        """Return the status of an encoded `LinkStatus`. Raises BadRecord, SchemaAway, IndexError.

        A row of this release's schema is not decoded: its first field is the enum, one zigzag byte.
        """
        if self._is_current(LINK_STATUS, row):
            return _STATUSES[row[5] >> 1]
        return self.decode(LINK_STATUS, row)["status"]

    def peek_state(self, row: bytes) -> r.OrderState:
        """Return the state of an encoded `OrderStatus`, as `peek_status` does."""
        if self._is_current(ORDER_STATUS, row):
            return _STATES[row[5] >> 1]
        return self.decode(ORDER_STATUS, row)["state"]

    def _is_current(self, schema: Schema[Any], row: bytes) -> bool:
        return row[:5] == self._frames[schema] or self._writer(schema, row) is None


def _id_in(data: bytes) -> int | None:
    """Return the schema id in framed bytes, None for bytes in no frame."""
    return int.from_bytes(data[1:5], "big") if len(data) >= 5 and data[0] == _MAGIC else None


def _encode(schema: Schema[Any], frame: bytes, record: Any) -> bytes:
    out = BytesIO()
    out.write(frame)
    try:
        fastavro.schemaless_writer(out, schema.parsed, record)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise BadRecord(f"not a {schema.full_name}: {error}") from error
    return out.getvalue()


def _decode(schema: Schema[Any], data: bytes, writer: Any) -> Any:
    body = BytesIO(data)
    body.seek(5)
    try:
        record = fastavro.schemaless_reader(body, writer, schema.parsed)
    except Exception as error:  # fastavro raises many kinds on broken bytes: all mean the same
        raise BadRecord(
            f"broken {schema.full_name}: {str(error) or 'its bytes end early'}"
        ) from error
    if body.tell() != len(data):
        raise BadRecord(f"broken {schema.full_name}: {len(data) - body.tell()} bytes too many")
    return record
