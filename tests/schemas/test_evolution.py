"""Each release reads the records of all others."""

import io
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import fastavro
import pytest

from schemas import codec, compatibility, versions
from schemas.codec import LINK_EVENT, LINK_STATUS, NOTICE, BadRecord, Codecs, Schema
from schemas.records import LinkStatus
from schemas.versions import Version
from streams.domain.link_status import fold
from streams.domain.rules import ProviderRules
from streams.engine.table import TablePartition
from tests.streams.domain.build import event
from tests.support.avro import (
    Change,
    add_field,
    add_status,
    field,
    framed,
    remove_field,
    remove_status,
    sample,
)
from tests.support.codecs import CODECS

# Parametrized by release and schema, so that later releases need no new test.
EACH_RELEASED = pytest.mark.parametrize(
    "released", list(versions.released()), ids=lambda each: f"{each.release}-{each.name}"
)
CURRENT = {schema.name: schema for schema in codec.ALL}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The schemas of a later release, which has no changes yet."""
    return shutil.copytree(versions.FOLDER, tmp_path / "schemas")


def edit(folder: Path, name: str, *changes: Change) -> Schema[Any]:
    """Change a schema, and return what it has become."""
    file = folder / f"{name}.avsc"
    schema = json.loads(file.read_text())
    for change in changes:
        change(schema)
    file.write_text(json.dumps(schema))
    return Schema(name, folder)


def agrees(record: dict[str, Any], read: dict[str, Any]) -> bool:
    """Whether the fields that both releases have are equal."""
    return all(read[name] == value for name, value in record.items() if name in read)


@EACH_RELEASED
def test_this_release_reads_records_of_every_release(released: Version) -> None:
    written = versions.parse(released.text)
    record = sample(json.loads(released.text))
    body = io.BytesIO()
    fastavro.schemaless_writer(body, written.parsed, record)
    data = framed(written.fingerprint, body.getvalue())
    assert agrees(record, CODECS.decode(CURRENT[released.name], data))


@EACH_RELEASED
def test_every_release_reads_records_of_this_release(released: Version) -> None:
    schema = CURRENT[released.name]
    record = sample(schema.json)
    body = io.BytesIO(CODECS.encode(schema, record)[5:])
    reader = versions.parse(released.text).parsed
    read: Any = fastavro.schemaless_reader(body, schema.parsed, reader)
    assert agrees(record, read)


def test_schemas_are_compatible_with_every_release() -> None:
    assert compatibility.breaks() == []
    assert {version.name for version in versions.released()} >= set(versions.names())


def test_later_release_reads_records_of_this_release(folder: Path) -> None:
    later = edit(folder, "link_event", add_field("channel", default="web"), add_status("REFUNDED"))
    assert later.fingerprint != LINK_EVENT.fingerprint
    fact = event("PAID")
    assert CODECS.decode(later, CODECS.encode(LINK_EVENT, fact)) == {"channel": "web", **fact}


def test_this_release_reads_records_of_a_later_release(folder: Path) -> None:
    later = edit(folder, "link_event", add_field("channel", default="web"), add_status("REFUNDED"))
    data = CODECS.encode(later, {**event("PAID"), "channel": "app", "status": "REFUNDED"})
    lookups: list[int] = []

    def find(number: int) -> str | None:
        lookups.append(number)
        return later.text if number == later.fingerprint else None

    codecs = Codecs(find=find)
    read = codecs.decode(LINK_EVENT, data)
    assert read == {**event("PAID"), "status": "UNKNOWN"}
    assert codecs.decode_any(data) == (LINK_EVENT, read)
    assert lookups == [later.fingerprint], "the result is kept"
    with pytest.raises(BadRecord, match=r"\(linkstatus.LinkEvent\) where linkstatus.LinkStatus"):
        codecs.decode(LINK_STATUS, data)


def test_table_rows_of_a_later_release_are_read_and_rewritten(folder: Path) -> None:
    later = edit(folder, "link_status", add_field("channel", default="web"), add_status("REFUNDED"))
    codecs = Codecs(find={later.fingerprint: later.text}.get)
    row = fold(None, event("PAID"), ProviderRules())
    table: TablePartition[LinkStatus] = TablePartition(
        partial(codecs.encode, LINK_STATUS), partial(codecs.decode, LINK_STATUS)
    )
    table.restore(b"k", CODECS.encode(later, {**row, "channel": "app"}))
    assert codecs.peek_status(table.encoded(b"k") or b"") == "PAID"
    assert table.get(b"k") == row
    table.put(b"k", row)
    table.encode_pending()
    assert table.changes() == {b"k": CODECS.encode(LINK_STATUS, row)}


UNREADABLE = "this release cannot read the records of 0.1.0: "


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (add_field("channel"), f"channel: {UNREADABLE}the field is missing and has no default"),
        (
            remove_field("provider_status"),
            "provider_status: 0.1.0 cannot read the records of this release: the field is missing",
        ),
        (
            lambda schema: field(schema, "verified").update(type="string"),
            f"verified: {UNREADABLE}reader type: string not",
        ),
        (
            lambda schema: field(schema, "received_at").update(
                type={"type": "long", "logicalType": "timestamp-millis"}
            ),
            f"received_at: {UNREADABLE}timestamp-micros would be read as timestamp-millis",
        ),
        (
            lambda schema: field(schema, "registration")["type"][1]["fields"].append(
                {"name": "shop", "type": "string"}
            ),
            f"registration.shop: {UNREADABLE}the field is missing",
        ),
        (
            remove_status("OPENED"),
            f"status: {UNREADABLE}OPENED would be read as the default",
        ),
        (
            lambda schema: (
                field(schema, "status")["type"].pop("default") and remove_status("OPENED")(schema)
            ),
            f"status: {UNREADABLE}{{'OPENED'}}",
        ),
    ],
)
def test_breaking_change_names_its_field(folder: Path, change: Change, fault: str) -> None:
    edit(folder, "link_event", change)
    breaks = compatibility.breaks(folder)
    assert any(each.startswith(f"link_event.avsc, LinkEvent.{fault}") for each in breaks), breaks
    assert len(breaks) <= 4, "an enum is named once, not for each of its fields"
    with pytest.raises(compatibility.Breaks, match="LinkEvent"):
        compatibility.release("0.2.0", folder)


def test_released_schema_cannot_be_removed(folder: Path) -> None:
    (folder / "notice.avsc").unlink()
    (fault,) = compatibility.breaks(folder)
    assert fault.startswith("notice.avsc, the whole schema: it is missing, so the records of 0.1.0")


def test_all_earlier_releases_count(folder: Path) -> None:
    edit(folder, "link_event", add_field("channel", default="web"))
    assert compatibility.release("0.2.0", folder) == ["link_event"]
    edit(folder, "link_event", lambda schema: field(schema, "channel").pop("default"))
    (fault,) = compatibility.breaks(folder)
    assert UNREADABLE in fault, "0.2.0 has the field, and its records can be read"


def test_release_stores_the_changed_schemas_under_a_later_number(folder: Path) -> None:
    assert compatibility.changed(folder) == []
    changed = edit(folder, "notice", add_field("channel", default="web"))
    assert compatibility.changed(folder) == ["notice"]
    with pytest.raises(ValueError, match=r"0\.1\.0 does not come after 0\.1\.0"):
        compatibility.release("0.1.0", folder)
    assert compatibility.release("0.10.0", folder) == ["notice"]
    assert [f.name for f in (folder / "released/0.10.0").iterdir()] == ["notice.avsc"]
    assert compatibility.changed(folder) == []
    fingerprints = [version.fingerprint for version in versions.distinct("notice", folder)]
    assert fingerprints == [NOTICE.fingerprint, changed.fingerprint]
