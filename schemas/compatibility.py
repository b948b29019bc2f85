"""FULL_TRANSITIVE: this release reads the records of all earlier ones, and they read its records.

Apache Avro's own checker decides whether one schema reads another. This module finds the field that
breaks, and changes that Avro allows although they change the meaning of old records.
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
    """The schemas cannot be released; the message names each field and the reason."""


def breaks(folder: Path = versions.FOLDER) -> list[str]:
    """Return each field, with the reason, for which an earlier release cannot read this release's
    records, or this release those of an earlier one.
    """
    return [
        f"{version.name}.avsc, {path}: {reason}"
        for version in versions.released(folder)
        for path, reason in _between(version, folder)
    ]


def changed(folder: Path = versions.FOLDER) -> list[str]:
    """Return the names of the schemas that are new or differ from their last release."""
    last = {version.name: version.text for version in versions.released(folder)}
    names = versions.names(folder)
    return [name for name in names if versions.current(name, folder) != last.get(name)]


def release(number: str, folder: Path = versions.FOLDER) -> list[str]:
    """Copy the changed schemas into the folder of release `number`, and return their names. Raises
    Breaks, ValueError.
    """
    if errors := breaks(folder):
        raise Breaks("\n".join(errors))
    earlier = [version.release for version in versions.released(folder)]
    if earlier and versions.order(number) <= versions.order(earlier[-1]):
        raise ValueError(f"{number} does not come after {earlier[-1]}, the last release")
    names = changed(folder)
    for name in names:
        new = folder / versions.RELEASED / number
        new.mkdir(parents=True, exist_ok=True)
        (new / f"{name}.avsc").write_text(versions.current(name, folder))
    return names


def _between(earlier: versions.Version, folder: Path) -> Iterator[Fault]:
    release = earlier.release
    if earlier.name not in versions.names(folder):
        yield "the whole schema", f"it is missing, so the records of {release} cannot be read"
        return
    old, new = parse(earlier.text), parse(versions.current(earlier.name, folder))
    name = str(new.get_prop("name"))
    for path, reason in (*_faults(new, old, name), *_changed_meanings(new, old, name)):
        yield path, f"this release cannot read the records of {release}: {reason}"
    for path, reason in _faults(old, new, name):
        yield path, f"{release} cannot read the records of this release: {reason}"


def _faults(reader: Schema, writer: Schema, path: str) -> list[Fault]:
    """Return the fields for which `reader` cannot read what `writer` wrote."""
    faults: list[Fault] = []
    for name, field, written in _fields(reader, writer, path):
        if written is not None:
            faults += _faults(field.type, written.type, name)
        elif not field.has_default:
            faults.append((name, "the field is missing and has no default"))
    if not faults:
        checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
        result = checker.get_compatibility(reader, writer)
        if result.compatibility is not SchemaCompatibilityType.compatible:
            faults.append((path, ", ".join(sorted(result.messages))))
    return faults


def _changed_meanings(reader: Schema, writer: Schema, path: str) -> Iterator[Fault]:
    """Yield fields that `reader` reads with another meaning than `writer` wrote."""
    fields = list(_fields(reader, writer, path))
    for name, field, written in fields:
        if written is not None:
            yield from _changed_meanings(field.type, written.type, name)
    if not fields:
        if lost := _symbols(writer) - _symbols(reader):
            yield path, f"{', '.join(sorted(lost))} would be read as the default"
        if _units(writer) != _units(reader):
            yield path, f"{_units(writer)} would be read as {_units(reader)}"


def _fields(reader: Schema, writer: Schema, path: str) -> Iterator[tuple[str, Field, Field | None]]:
    """Yield the fields of the records in both schemas: path, reader's field, writer's field."""
    written = {part.fullname: part for part in _parts(writer) if isinstance(part, RecordSchema)}
    for part in _parts(reader):
        if isinstance(part, RecordSchema) and part.fullname in written:
            fields = written[part.fullname].fields_dict
            for field in part.fields:
                yield f"{path}.{field.name}", field, fields.get(field.name)


def _parts(schema: Schema) -> list[Schema]:
    """Return the records and primitive schemas that a value of the schema consists of."""
    if isinstance(schema, UnionSchema):
        return [part for branch in schema.schemas for part in _parts(branch)]
    if isinstance(schema, ArraySchema):
        return _parts(schema.items)
    if isinstance(schema, MapSchema):
        return _parts(schema.values)
    return [schema]


def _symbols(schema: Schema) -> set[str]:
    enums = (part for part in _parts(schema) if isinstance(part, EnumSchema))
    return {symbol for enum in enums for symbol in enum.symbols}


def _units(schema: Schema) -> str:
    """Return the logical types of a schema: a number in another unit is another time."""
    types = {getattr(part, "logical_type", None) for part in _parts(schema)}
    return " or ".join(sorted(str(name) for name in types if name)) or "plain values"
