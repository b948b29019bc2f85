"""Avro schemas and their records, for tests."""

from collections.abc import Callable
from typing import Any

Change = Callable[[dict[str, Any]], None]


def sample(schema: Any, named: dict[str, Any] | None = None) -> Any:
    """Return a record of the schema with every optional part present."""
    named = {} if named is None else named
    if isinstance(schema, list):
        return sample(schema[-1], named)
    if isinstance(schema, str):
        plain = {"string": "text", "long": 1_700_000_000_000_001, "int": 3, "boolean": True}
        if schema in plain:
            return plain[schema]
        return sample(named[schema.removeprefix("linkstatus.")], named)
    if schema["type"] == "record":
        named[schema["name"]] = schema
        return {field["name"]: sample(field["type"], named) for field in schema["fields"]}
    if schema["type"] == "enum":
        named[schema["name"]] = schema
        return schema["symbols"][-1]
    if schema["type"] == "array":
        return [sample(schema["items"], named)]
    if schema["type"] == "map":
        return {"a key": sample(schema["values"], named)}
    return sample(schema["type"], named)


def framed(number: int, body: bytes) -> bytes:
    """Return an Avro body in Confluent framing with this schema id."""
    return b"\0" + number.to_bytes(4, "big") + body


def field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    (field,) = (each for each in schema["fields"] if each["name"] == name)
    assert isinstance(field, dict)
    return field


def add_field(name: str, **properties: Any) -> Change:
    """Return a change that adds a text field, in front so that it moves all other bytes."""
    new = {"name": name, "type": "string", "doc": "New.", **properties}
    return lambda schema: schema["fields"].insert(0, new)


def remove_field(name: str) -> Change:
    return lambda schema: schema["fields"].remove(field(schema, name))


def add_status(symbol: str) -> Change:
    return lambda schema: field(schema, "status")["type"]["symbols"].insert(1, symbol)


def remove_status(symbol: str) -> Change:
    return lambda schema: field(schema, "status")["type"]["symbols"].remove(symbol)
