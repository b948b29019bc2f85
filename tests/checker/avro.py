"""Values in Confluent framing: byte 0x00, the id of the schema in four bytes, Avro."""

import hashlib
import json
import urllib.request
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import to_parsing_canonical_form

Decode = Callable[[bytes], Any]

_FOLDER = Path(__file__).parents[2] / "schemas"


def released_schemas() -> dict[int, str]:
    """Return the texts of the schemas of all releases, by the ids that stand for them where there
    is no registry: the first 31 bits of SHA-256 of the Parsing Canonical Form.
    """
    texts = [file.read_text() for file in sorted(_FOLDER.rglob("*.avsc"))]
    return {_derived_id(text): text for text in texts}


def _derived_id(text: str) -> int:
    form = to_parsing_canonical_form(_plain(json.loads(text)))
    return int.from_bytes(hashlib.sha256(form.encode()).digest()[:4], "big") & 0x7FFFFFFF or 1


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
