"""FULL_TRANSITIVE: this release reads what every former one wrote, and every former one reads what
this one writes.

Whether one schema reads another is told by Apache Avro's own checker. Which field is to blame is
found here, and what Avro lets pass though it would change what old records say.
"""

from collections.abc import Iterator
from pathlib import Path

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import (
    ArraySchema,
    EnumSchema,
    Field,
    MapSchema,
    RecordSchema,
    Schema,
    UnionSchema,
    parse,
)

from schemas import versions

Fault = tuple[str, str]


class Breaks(ValueError):
    """The schemas cannot be released; the message names each field and why."""


def breaks(folder: Path = versions.FOLDER) -> list[str]:
    """Every field, and why, that keeps a former release from reading this one's records or this one
    from reading a former one's.
    """
    return [
        f"{one.name}.avsc, {path}: {why}"
        for one in versions.released(folder / versions.RELEASED.name)
        for path, why in _between(one, folder)
    ]


def changed(folder: Path = versions.FOLDER) -> list[str]:
    """The names of the schemas that differ from their last release, or had none."""
    last = {one.name: one.text for one in versions.released(folder / versions.RELEASED.name)}
    names = versions.names(folder)
    return [name for name in names if versions.current(name, folder).text != last.get(name)]


def release(number: str, folder: Path = versions.FOLDER) -> list[str]:
    """Keeps the schemas that have changed as those of release `number`; their names. Raises Breaks,
    ValueError.
    """
    if found := breaks(folder):
        raise Breaks("\n".join(found))
    kept = folder / versions.RELEASED.name
    former = [one.release for one in versions.released(kept) if one.release]
    if former and versions.order(number) <= versions.order(former[-1]):
        raise ValueError(f"{number} does not come after {former[-1]}, the last release")
    names = changed(folder)
    for name in names:
        (kept / number).mkdir(parents=True, exist_ok=True)
        (kept / number / f"{name}.avsc").write_text(versions.current(name, folder).text)
    return names


def _between(one: versions.Version, folder: Path) -> Iterator[Fault]:
    if one.name not in versions.names(folder):
        yield "all of it", f"{one.release} had it; its records could no longer be read"
        return
    old, new = parse(one.text), parse(versions.current(one.name, folder).text)
    name = str(new.get_prop("name"))
    for path, why in (*_faults(new, old, name), *_otherwise(new, old, name)):
        yield path, f"what {one.release} wrote cannot be read: {why}"
    for path, why in _faults(old, new, name):
        yield path, f"{one.release} cannot read what is written now: {why}"


def _faults(reader: Schema, writer: Schema, path: str) -> list[Fault]:
    """The fields by which `reader` cannot read what `writer` wrote."""
    found: list[Fault] = []
    for here, field, written in _fields(reader, writer, path):
        if written is not None:
            found += _faults(field.type, written.type, here)
        elif not field.has_default:
            found.append((here, "it is not there, and has no default"))
    if not found:
        checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
        result = checker.get_compatibility(reader, writer)
        if result.compatibility is not SchemaCompatibilityType.compatible:
            found.append((path, ", ".join(sorted(result.messages))))
    return found


def _otherwise(reader: Schema, writer: Schema, path: str) -> Iterator[Fault]:
    """Fields that are read, but as something else than what was written."""
    fields = list(_fields(reader, writer, path))
    for here, field, written in fields:
        if written is not None:
            yield from _otherwise(field.type, written.type, here)
    if not fields:
        if lost := _words(writer) - _words(reader):
            yield path, f"{', '.join(sorted(lost))} would be taken for the default"
        if _units(writer) != _units(reader):
            yield path, f"{_units(writer)} would be taken for {_units(reader)}"


def _fields(reader: Schema, writer: Schema, path: str) -> Iterator[tuple[str, Field, Field | None]]:
    """The fields of the records that both are made of, by what leads to them, with the writer's."""
    written = {one.fullname: one for one in _parts(writer) if isinstance(one, RecordSchema)}
    for one in _parts(reader):
        if isinstance(one, RecordSchema) and one.fullname in written:
            theirs = written[one.fullname].fields_dict
            yield from (
                (f"{path}.{field.name}", field, theirs.get(field.name)) for field in one.fields
            )


def _parts(schema: Schema) -> list[Schema]:
    """What a value of the schema is made of, down to records and plain values."""
    if isinstance(schema, UnionSchema):
        return [part for branch in schema.schemas for part in _parts(branch)]
    if isinstance(schema, ArraySchema):
        return _parts(schema.items)
    if isinstance(schema, MapSchema):
        return _parts(schema.values)
    return [schema]


def _words(schema: Schema) -> set[str]:
    enums = (part for part in _parts(schema) if isinstance(part, EnumSchema))
    return {symbol for enum in enums for symbol in enum.symbols}


def _units(schema: Schema) -> str:
    """What its numbers mean: a time in another unit is another time."""
    found = {getattr(part, "logical_type", None) for part in _parts(schema)}
    return " or ".join(sorted(str(one) for one in found if one)) or "plain values"
