"""The generated codecs and fastavro agree: on records, on odd values and on broken bytes."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from schemas import codec, compiler
from schemas.codec import Schema
from tests.support.codecs import CODECS

FRAME = b"\0\0\0\0\1"
# Each is close to what some type takes: `()` to an array, `True` to a long, `b""` to a string.
ODD: SearchStrategy[Any] = st.sampled_from(
    [None, True, 1, 0, -1, 2**31, 2**63, -(2**63) - 1, 1.0, "", "\ud800", b"", (), [], {}, {1: 2}]
)
LONGS = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 200) | st.integers(2**48, 2**56)


def values(schema: Any, named: dict[str, SearchStrategy[Any]]) -> SearchStrategy[Any]:
    """Return a strategy for the values of `schema`."""
    if isinstance(schema, list):
        return st.one_of([values(part, named) for part in schema])
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind in named:
        return named[kind]
    if kind == "record":
        fields = {f["name"]: values(f["type"], named) for f in schema["fields"]}
        found: SearchStrategy[Any] = st.fixed_dictionaries(fields)
    elif kind == "enum":
        found = st.sampled_from(schema["symbols"])
    elif kind == "array":
        return st.lists(values(schema["items"], named), max_size=3)
    elif kind == "map":
        return st.dictionaries(st.text(max_size=5), values(schema["values"], named), max_size=3)
    else:
        return {
            "null": st.none(),
            "string": st.text(max_size=20) | st.text("é€", min_size=500, max_size=600),
            "long": LONGS,
            "int": st.integers(-(2**31), 2**31 - 1),
            "boolean": st.booleans(),
        }[kind]
    named[schema["name"]] = found
    return found


RECORDS = {schema.name: values(schema.parsed, {}) for schema in codec.ALL}
schemas = pytest.mark.parametrize("schema", codec.ALL, ids=lambda schema: schema.name)


def slow_encode(schema: Schema[Any], record: Any) -> bytes:
    out = BytesIO(FRAME)
    out.seek(len(FRAME))
    fastavro.schemaless_writer(out, schema.parsed, record)
    return out.getvalue()


def slow_decode(schema: Schema[Any], data: bytes) -> Any:
    body = BytesIO(data)
    record = fastavro.schemaless_reader(body, schema.parsed, None)
    assert body.tell() == len(data)
    return record


def attempt(call: Callable[..., Any], *arguments: Any) -> tuple[Any] | None:
    """Return the result in a tuple, or None if the call raises."""
    try:
        return (call(*arguments),)
    except Exception:
        return None


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every part of `value`."""
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    return [path, *(found for key, part in inside for found in paths(part, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], part: Any) -> Any:
    """Return a copy of `value` with another part at `path`."""
    if not path:
        return part
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], part)
    return copy


@schemas
@given(data=st.data())
def test_records_have_the_same_bytes_and_come_back(
    schema: Schema[Any], data: st.DataObject
) -> None:
    record = data.draw(RECORDS[schema.name])
    encoded = schema.encode_exact(FRAME, record)
    assert encoded == slow_encode(schema, record)
    assert schema.decode_exact(encoded, 5) == slow_decode(schema, encoded[5:]) == record
    written = CODECS.encode(schema, record)
    assert CODECS.decode_any(written) == (schema, record)


@schemas
@given(data=st.data())
def test_an_odd_value_is_left_to_fastavro_or_has_the_same_bytes(
    schema: Schema[Any], data: st.DataObject
) -> None:
    record = data.draw(RECORDS[schema.name])
    odd = replaced(record, data.draw(st.sampled_from(paths(record))), data.draw(ODD))
    encoded = attempt(schema.encode_exact, FRAME, odd)
    assert encoded is None or encoded == attempt(slow_encode, schema, odd)


@schemas
@given(data=st.data())
def test_broken_bytes_are_left_to_fastavro_or_have_the_same_record(
    schema: Schema[Any], data: st.DataObject
) -> None:
    encoded = bytearray(schema.encode_exact(b"", data.draw(RECORDS[schema.name])))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(encoded)))
        encoded[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    decoded = attempt(schema.decode_exact, bytes(encoded), 0)
    assert decoded is None or repr(decoded) == repr(attempt(slow_decode, schema, bytes(encoded)))


@given(st.integers(0, 2**64 - 1), st.binary(max_size=9))
def test_a_varint_comes_back_whatever_follows(number: int, behind: bytes) -> None:
    encoded = compiler.varint(number)
    if number < 128:
        assert encoded == bytes((number,))
    else:
        assert compiler.read_varint(encoded + behind, 1) == (number, len(encoded))


@pytest.mark.parametrize(
    "part", ["double", "bytes", ["string", "null"], ["null", "string", "long"]], ids=str
)
def test_a_type_that_is_not_generated_says_so(part: Any) -> None:
    record = {"type": "record", "name": "R", "fields": [{"name": "a", "type": part}]}
    for generate in (compiler.encoder, compiler.decoder):
        with pytest.raises(compiler.NotCompiled):
            generate(record)
