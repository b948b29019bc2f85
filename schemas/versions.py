"""The schemas that a record may have been written with: this release's, and those of the releases
before it, `released/{release}/{name}.avsc`, each where it first appeared.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from fastavro.schema import SchemaParseException, parse_schema, to_parsing_canonical_form

FOLDER = Path(__file__).parent
RELEASED = FOLDER / "released"
NO_RECORD = (ValueError, KeyError, TypeError, SchemaParseException)


class Version(NamedTuple):
    """One state of one schema: the file's name without ending, and its text."""

    name: str
    text: str
    release: str | None = None


class Written(NamedTuple):
    """What records of one schema id were written with."""

    text: str
    full_name: str
    # Of the parts that bear on the bytes: schemas of one fingerprint write the same ones.
    fingerprint: int
    parsed: Any


def derived_id(schema: Any) -> int:
    """A positive 31-bit id from SHA-256 over the schema's Parsing Canonical Form (Avro 1.11,
    "Schema Fingerprints").
    """
    digest = hashlib.sha256(to_parsing_canonical_form(schema).encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF or 1


def plain(schema: Any) -> Any:
    """The schema without logical types, so that times stay integers inside; the bytes are the
    same.
    """
    if isinstance(schema, dict):
        return {key: plain(value) for key, value in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [plain(part) for part in schema]
    return schema


def written(text: str) -> Written:
    """Reads a schema. Raises one of NO_RECORD for what is no record's: a registry has others, too,
    and in other languages than Avro.
    """
    schema = json.loads(text)
    parsed: Any = parse_schema(plain(schema))
    return Written(text, parsed["name"], derived_id(schema), parsed)


def current(name: str, folder: Path = FOLDER) -> Version:
    """The schema as this release writes it."""
    return Version(name, (folder / f"{name}.avsc").read_text())


def names(folder: Path = FOLDER) -> list[str]:
    """Of all schemas of this release."""
    return sorted(file.stem for file in folder.glob("*.avsc"))


def released(folder: Path = RELEASED) -> Iterator[Version]:
    """Every released state of every schema, the oldest release first."""
    releases = (path.name for path in folder.iterdir() if path.is_dir()) if folder.exists() else ()
    for release in sorted(releases, key=order):
        for file in sorted((folder / release).glob("*.avsc")):
            yield Version(file.stem, file.read_text(), release)


def order(release: str) -> list[int]:
    """What releases are sorted by. Raises ValueError for what is no number such as 0.2.0."""
    return [int(part) for part in release.split(".")]


def distinct(name: str, folder: Path = FOLDER) -> list[Written]:
    """The states of one schema that differ in the bytes they make, this release's last. Of states
    that do not, the newest: it is the best documented.
    """
    former = [one for one in released(folder / RELEASED.name) if one.name == name]
    states = [written(one.text) for one in (*former, current(name, folder))]
    return list({one.fingerprint: one for one in reversed(states)}.values())[::-1]


@cache
def known() -> dict[int, Written]:
    """What this release can name by itself, by derived id."""
    states = [written(one.text) for one in (*released(), *(current(name) for name in names()))]
    return {one.fingerprint: one for one in states}
