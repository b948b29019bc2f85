"""The schemas of this release, `{name}.avsc`, and of all earlier ones, `released/{release}/`.

A release's folder holds only the schemas that changed in it.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from fastavro.schema import SchemaParseException, parse_schema, to_parsing_canonical_form

FOLDER = Path(__file__).parent
RELEASED = "released"
NOT_A_RECORD = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    SchemaParseException,
)


class Version(NamedTuple):
    """One released version of a schema; `name` is the name of its file without ending."""

    name: str
    text: str
    release: str


class WriterSchema(NamedTuple):
    """A schema that writes records. Schemas with the same fingerprint write the same bytes."""

    text: str
    full_name: str
    fingerprint: int
    parsed: Any


def derived_id(schema: Any) -> int:
    """Return a positive 31-bit id: SHA-256 of the schema's Parsing Canonical Form (Avro 1.11,
    "Schema Fingerprints").
    """
    digest = hashlib.sha256(to_parsing_canonical_form(schema).encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF or 1


def plain(schema: Any) -> Any:
    """Return the schema without logical types: times are then integers in Python, and the bytes
    stay the same.
    """
    if isinstance(schema, dict):
        return {key: plain(value) for key, value in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [plain(part) for part in schema]
    return schema


def parse(text: str) -> WriterSchema:
    """Parse a schema. Raises one of NOT_A_RECORD if it is not the Avro schema of a record: a shared
    registry has other types, too.
    """
    schema = json.loads(text)
    parsed: Any = parse_schema(plain(schema))
    return WriterSchema(text, parsed["name"], derived_id(schema), parsed)


def current(name: str, folder: Path = FOLDER) -> str:
    """Return the text of the schema as this release writes it."""
    return (folder / f"{name}.avsc").read_text()


def names(folder: Path = FOLDER) -> list[str]:
    """Return the names of all schemas of this release."""
    return sorted(file.stem for file in folder.glob("*.avsc"))


def released(folder: Path = FOLDER) -> Iterator[Version]:
    """Return every released version of every schema, the oldest release first."""
    releases = {file.parent.name for file in (folder / RELEASED).glob("*/*.avsc")}
    for release in sorted(releases, key=order):
        for file in sorted((folder / RELEASED / release).glob("*.avsc")):
            yield Version(file.stem, file.read_text(), release)


def order(release: str) -> list[int]:
    """Return the sort key of a release such as 0.2.0. Raises ValueError for any other text."""
    return [int(part) for part in release.split(".")]


def distinct(name: str, folder: Path = FOLDER) -> list[WriterSchema]:
    """Return the versions of one schema that write different bytes, this release's last. Of
    versions that write the same bytes it returns the newest, which has the best documentation.
    """
    earlier = [version.text for version in released(folder) if version.name == name]
    versions = [parse(text) for text in (*earlier, current(name, folder))]
    return list({version.fingerprint: version for version in reversed(versions)}.values())[::-1]


@cache
def known() -> dict[int, WriterSchema]:
    """Return the schemas of this and all earlier releases by derived id."""
    texts = (*(version.text for version in released()), *map(current, names()))
    return {schema.fingerprint: schema for schema in map(parse, texts)}
