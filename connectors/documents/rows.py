"""The rows that the board shows, as JSON Schema: from the Avro schemas of the records."""

from collections.abc import Iterable
from typing import Any

from schemas.codec import Codec

Schema = dict[str, Any]

_PLAIN = {"string": "string", "null": "null", "boolean": "boolean", "int": "integer"}
_PLAIN |= {"long": "integer"}


def reference(name: str) -> Schema:
    """A component of the document, by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def components(codecs: Iterable[Codec[Any]]) -> dict[str, Schema]:
    """A component for each record and enumeration in these schemas, as `board.present.as_json`
    shows them.
    """
    found: dict[str, Schema] = {}
    for codec in codecs:
        _shown(codec.json, found)
    return dict(sorted(found.items()))


def _shown(avro: Any, found: dict[str, Schema]) -> Schema:
    if isinstance(avro, str):
        plain = _PLAIN.get(avro)
        return {"type": plain} if plain else reference(avro.rpartition(".")[2])
    if isinstance(avro, list):
        return {"anyOf": [_shown(part, found) for part in avro]}
    if avro.get("logicalType") == "timestamp-micros":
        # None for a time beyond the years that RFC 3339 can tell.
        return {"type": ["string", "null"], "format": "date-time"}
    match avro["type"]:
        case "record":
            found[avro["name"]] = _record(avro, found)
        case "enum":
            enum = {"type": "string", "enum": avro["symbols"], "description": avro["doc"]}
            found[avro["name"]] = enum
        case "array":
            return {"type": "array", "items": _shown(avro["items"], found)}
        case "map":
            return {"type": "object", "additionalProperties": _shown(avro["values"], found)}
        case plain:
            return {"type": _PLAIN[plain]}
    return reference(avro["name"])


def _record(avro: Any, found: dict[str, Schema]) -> Schema:
    fields = {field["name"]: _field(field, found) for field in avro["fields"]}
    return {
        "type": "object",
        "description": avro["doc"],
        "required": list(fields),
        "properties": fields,
    }


def _field(field: Any, found: dict[str, Schema]) -> Schema:
    doc = {"description": field["doc"]} if "doc" in field else {}
    return _shown(field["type"], found) | doc
