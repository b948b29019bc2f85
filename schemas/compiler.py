"""Avro encoders and decoders in plain Python, generated from a schema.

fastavro is slow on our records: a union with null doubles the work of each field, and a record
inside a union is walked twice. The generated code encodes about three times and decodes about twice
as fast.

A generated function accepts only exact input: a `str` for a string, an `int` (not a `bool`) for a
long, a `list` for an array, a `dict` for a record. For all other input it raises an exception of
any kind, and the caller asks fastavro, which decides and whose error texts remain.
tests/schemas/test_compiler.py holds both equal on generated records and on broken bytes.

Source: Avro 1.11, "Binary Encoding". A long is a zigzag varint, a string its length and its UTF-8
bytes, a union the index of its branch and the value, an array or a map a sequence of blocks.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

Encoder = Callable[[bytes, Mapping[str, Any]], bytes]
Decoder = Callable[[bytes, int], Any]
Schema = Any

# Two bytes of a varint that goes on, by their fourteen bits.
_GOES_ON = [bytes((n & 127 | 128, n >> 7 | 128)) for n in range(1 << 14)]
_LONGEST_KEPT = 1024
# The high bits of eight bytes: set in all but the last one.
_ENDS, _LAST = 0x8080808080808080, 0x0080808080808080
_EVEN, _ODD = 0x007F007F007F007F, 0x7F007F007F007F00


class NotExact(Exception):
    """The value or the bytes are for fastavro to judge."""


class NotCompiled(Exception):
    """The schema has a part that is not generated."""


def varint(number: int) -> bytes:
    """Return the bytes of a number that is already zigzag-encoded, from 0 to 2**64 - 1."""
    if number >= 1 << 64 or number < 0:
        raise NotExact
    parts = b""
    while number >= 1 << 14:
        parts += _GOES_ON[number & 16383]
        number >>= 14
    if number < 128:
        return parts + bytes((number,))
    return parts + bytes((number & 127 | 128, number >> 7))


# By the zigzag number: lengths of texts, small counts and indexes.
_SHORT = [varint(number) for number in range(2 * _LONGEST_KEPT)]


def long(value: int) -> bytes:
    """Return a long's bytes."""
    return varint(value << 1 if value >= 0 else ~(value << 1))


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the zigzag number whose first byte is before `at`, and where the next value begins."""
    end = at + 7
    if end <= len(data) and (word := int.from_bytes(data[at - 1 : end], "little")) & _ENDS == _LAST:
        # Eight bytes, as a time of our days in microseconds has: seven bits of each.
        word = (word & _EVEN) | (word & _ODD) >> 1
        word = (word & 0x3FFF00003FFF) | (word & 0x3FFF00003FFF0000) >> 2
        return (word & 0xFFFFFFF) | word >> 32 << 28, end
    number, shift = data[at - 1] & 127, 7
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            if number >= 1 << 64:
                raise NotExact
            return number, at
        shift += 7


_GIVEN = {
    "NotExact": NotExact,
    "GOES_ON": _GOES_ON,
    "SHORT": _SHORT,
    "long": long,
    "varint": varint,
    "read_varint": read_varint,
}


class _Source:
    """Lines of a generated module, with the constants that they name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = dict(_GIVEN)
        # The lines that write or read a value of a named type; `{value}` stands for the value.
        self.named: dict[str, tuple[str, ...]] = {}
        self._numbers = count()

    def name(self, kind: str) -> str:
        return f"{kind}{next(self._numbers)}"

    def constant(self, kind: str, value: Any) -> str:
        name = self.name(kind)
        self.names[name] = value
        return name

    def of_named(self, type_name: str, value: str) -> Iterator[str]:
        return (line.replace("{value}", value) for line in self.named[type_name])

    def compiled(self, function: str) -> Any:
        exec("\n".join(self.lines), self.names)  # noqa: S102 (the text comes from our schemas)
        return self.names[function]


def encoder(parsed: Schema) -> Encoder:
    """Return `encode(frame, record) -> frame and body`. Raises NotCompiled."""
    source = _Source()
    _write_record(source, parsed)
    source.lines += [
        "def encode(frame, record):",
        " out = bytearray(frame)",
        *(f" {line}" for line in source.of_named(parsed["name"], "record")),
        " return bytes(out)",
    ]
    return source.compiled("encode")  # type: ignore[no-any-return]


def _write_record(source: _Source, schema: Schema) -> None:
    function = source.name("write")
    source.named[schema["name"]] = (f"{function}(out, {{value}})",)
    body = [f"def {function}(out, record):", " if type(record) is not dict: raise NotExact"]
    for field in schema["fields"]:
        value = source.name("v")
        body.append(f" {value} = record[{field['name']!r}]")
        body += (f" {line}" for line in _write(source, field["type"], value))
    source.lines += body


def _write_enum(source: _Source, schema: Schema) -> None:
    table = {symbol: long(index) for index, symbol in enumerate(schema["symbols"])}
    source.named[schema["name"]] = (f"out += {source.constant('ENUM', table)}[{{value}}]",)


def _write(source: _Source, schema: Schema, value: str) -> Iterator[str]:
    """Yield the lines that append `value` to `out`."""
    kind = _kind(schema)
    if kind in source.named:
        yield from source.of_named(kind, value)
    elif kind in ("enum", "record"):
        (_write_enum if kind == "enum" else _write_record)(source, schema)
        yield from source.of_named(schema["name"], value)
    elif kind == "union":
        yield f"if {value} is None: out.append(0)"
        yield "else:"
        yield " out.append(2)"
        yield from (f" {line}" for line in _write(source, _optional(schema), value))
    elif kind == "string":
        yield from _write_text(value)
    elif kind in ("long", "int"):
        yield from _write_number(value, 31 if kind == "int" else 63)
    elif kind == "boolean":
        yield f"if type({value}) is not bool: raise NotExact"
        yield f"out.append({value})"
    elif kind in ("array", "map"):
        yield from _write_many(source, schema, value)
    else:
        raise NotCompiled(kind)


def _write_text(value: str) -> Iterator[str]:
    yield f"if type({value}) is not str: raise NotExact"
    yield f"text = {value}.encode()"
    yield "size = len(text)"
    yield f"out += SHORT[size + size] if size < {_LONGEST_KEPT} else long(size)"
    yield "out += text"


def _write_number(value: str, bits: int) -> Iterator[str]:
    yield f"if type({value}) is not int: raise NotExact"
    yield f"if not {-(1 << bits)} <= {value} < {1 << bits}: raise NotExact"
    yield f"if 0 <= {value} < {_LONGEST_KEPT}: out += SHORT[{value} + {value}]"
    # A time of our days in microseconds is eight bytes long.
    yield f"elif {1 << 48} <= {value} < {1 << 55}:"
    yield f" big = {value} << 1"
    yield " out += GOES_ON[big & 16383]"
    yield " out += GOES_ON[big >> 14 & 16383]"
    yield " out += GOES_ON[big >> 28 & 16383]"
    yield " out.append(big >> 42 & 127 | 128)"
    yield " out.append(big >> 49)"
    yield f"else: out += long({value})"


def _write_many(source: _Source, schema: Schema, value: str) -> Iterator[str]:
    item, key = source.name("v"), source.name("v")
    is_array = schema["type"] == "array"
    yield f"if type({value}) is not {'list' if is_array else 'dict'}: raise NotExact"
    yield f"if {value}:"
    yield f" out += long(len({value}))"
    yield f" for {item} in {value}:" if is_array else f" for {key}, {item} in {value}.items():"
    if not is_array:
        yield from (f"  {line}" for line in _write_text(key))
    items = schema["items" if is_array else "values"]
    yield from (f"  {line}" for line in _write(source, items, item))
    yield "out.append(0)"


def decoder(parsed: Schema) -> Decoder:
    """Return `decode(data, at) -> record`, which takes all bytes from `at`. Raises NotCompiled."""
    source = _Source()
    _read_record(source, parsed)
    source.lines += [
        "def decode(data, at):",
        *(f" {line}" for line in source.of_named(parsed["name"], "record")),
        " if at != len(data): raise NotExact",
        " return record",
    ]
    return source.compiled("decode")  # type: ignore[no-any-return]


def _read_record(source: _Source, schema: Schema) -> None:
    function = source.name("read")
    source.named[schema["name"]] = (f"{{value}}, at = {function}(data, at)",)
    body, fields = [f"def {function}(data, at):"], []
    for field in schema["fields"]:
        value = source.name("v")
        fields.append(f"{field['name']!r}: {value}")
        body += (f" {line}" for line in _read(source, field["type"], value))
    source.lines += [*body, f" return {{{', '.join(fields)}}}, at"]


def _read_enum(source: _Source, schema: Schema) -> None:
    symbols = source.constant("SYMBOLS", tuple(schema["symbols"]))
    source.named[schema["name"]] = (
        "number = data[at]",
        "at += 1",
        "if number & 129: raise NotExact",
        f"{{value}} = {symbols}[number >> 1]",
    )


def _read(source: _Source, schema: Schema, value: str) -> Iterator[str]:
    """Yield the lines that read `value` from `data` at `at` and move `at` behind it."""
    kind = _kind(schema)
    if kind in source.named:
        yield from source.of_named(kind, value)
    elif kind in ("enum", "record"):
        (_read_enum if kind == "enum" else _read_record)(source, schema)
        yield from source.of_named(schema["name"], value)
    elif kind == "union":
        yield "index = data[at]"
        yield "at += 1"
        yield f"if index == 0: {value} = None"
        yield "elif index == 2:"
        yield from (f" {line}" for line in _read(source, _optional(schema), value))
        yield "else: raise NotExact"
    elif kind == "string":
        yield from _read_text(value)
    elif kind in ("long", "int"):
        yield from _read_number("number")
        yield f"{value} = number >> 1 ^ -(number & 1)"
        if kind == "int":
            yield f"if not {-(1 << 31)} <= {value} < {1 << 31}: raise NotExact"
    elif kind == "boolean":
        yield f"{value} = (False, True)[data[at]]"
        yield "at += 1"
    elif kind in ("array", "map"):
        yield from _read_many(source, schema, value)
    else:
        raise NotCompiled(kind)


def _read_number(number: str) -> Iterator[str]:
    yield f"{number} = data[at]"
    yield "at += 1"
    yield f"if {number} > 127: {number}, at = read_varint(data, at)"


def _read_text(value: str) -> Iterator[str]:
    yield from _read_number("size")
    yield "if size & 1: raise NotExact"
    yield "end = at + (size >> 1)"
    yield f"{value} = data[at:end].decode()"
    yield "at = end"


def _read_many(source: _Source, schema: Schema, value: str) -> Iterator[str]:
    item, key, rest = source.name("v"), source.name("v"), source.name("n")
    is_array = schema["type"] == "array"
    yield f"{value} = {'[]' if is_array else '{}'}"
    yield "while True:"
    yield from (f" {line}" for line in _read_number(rest))
    # A negative count is followed by the block's size; none of our writers makes one.
    yield f" if {rest} & 1: raise NotExact"
    yield f" if {rest} == 0: break"
    yield f" {rest} >>= 1"
    yield f" while {rest}:"
    yield f"  {rest} -= 1"
    if not is_array:
        yield from (f"  {line}" for line in _read_text(key))
    items = schema["items" if is_array else "values"]
    yield from (f"  {line}" for line in _read(source, items, item))
    yield f"  {value}.append({item})" if is_array else f"  {value}[{key}] = {item}"


def _kind(schema: Schema) -> Any:
    """Return the name of a primitive or named type, else the complex type."""
    if isinstance(schema, list):
        return "union"
    return schema if isinstance(schema, str) else schema["type"]


def _optional(union: list[Schema]) -> Schema:
    """Return the one type beside null."""
    if len(union) != 2 or union[0] != "null":
        raise NotCompiled(union)
    return union[1]
