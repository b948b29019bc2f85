"""Values in Confluent framing: byte 0x00, the id of the schema in four bytes, Avro."""

import json
import urllib.request
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import fastavro

Decode = Callable[[bytes], Any]


class Decoder:
    """`schemas` has the text of the schema of each id. `registry` is the URL of a schema registry
    for other ids.
    """

    def __init__(self, schemas: Mapping[int, str], registry: str | None = None) -> None:
        self._schemas, self._registry = schemas, registry
        self._parsed: dict[int, Any] = {}

    def __call__(self, value: bytes) -> Any:
        """Return the record. Raises ValueError."""
        if len(value) < 5 or value[0] != 0:
            raise ValueError("not in Confluent framing")
        number = int.from_bytes(value[1:5], "big")
        try:
            return fastavro.schemaless_reader(BytesIO(value[5:]), self._schema(number), None)
        except (EOFError, IndexError, KeyError, TypeError, StopIteration) as error:
            raise ValueError(f"not a record of schema {number}: {error!r}") from error

    def _schema(self, number: int) -> Any:
        if number not in self._parsed:
            text = self._schemas.get(number) or self._looked_up(number)
            self._parsed[number] = fastavro.parse_schema(_plain(json.loads(text)))
        return self._parsed[number]

    def _looked_up(self, number: int) -> str:
        if self._registry is None:
            raise ValueError(f"the schema {number} is not known")
        url = f"{self._registry.rstrip('/')}/schemas/ids/{number}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            schema: str = json.load(answer)["schema"]
        return schema


def _plain(schema: Any) -> Any:
    """Return the schema without logical types: times stay integers."""
    if isinstance(schema, dict):
        return {name: _plain(value) for name, value in schema.items() if name != "logicalType"}
    return [_plain(part) for part in schema] if isinstance(schema, list) else schema
