"""Records outlive the release that wrote them, and a release the one that comes after it."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest

from schemas import codec, compatibility, versions
from schemas.codec import BadRecord, Codec, SchemaAway
from schemas.versions import Version
from streams.domain.link import fold
from streams.domain.rules import ProviderRules
from streams.engine.table import Partition
from tests.streams.domain.build import event

RELEASED = [pytest.param(one, id=f"{one.release}-{one.name}") for one in versions.released()]
CURRENT = {one.name: one for one in codec.ALL}


def sample(schema: Any, named: dict[str, Any]) -> Any:
    """A record of the schema with every optional part present."""
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The schemas of a release to come: so far, a copy of these."""
    return shutil.copytree(versions.FOLDER, tmp_path / "schemas")


@pytest.fixture
def asked() -> Iterator[list[int]]:
    """The ids that were asked for outside; who is asked is set by the test."""
    yield []
    codec.ask(None)


Change = Callable[[dict[str, Any]], None]


def edit(folder: Path, name: str, *changes: Change) -> None:
    file = folder / f"{name}.avsc"
    schema = json.loads(file.read_text())
    for change in changes:
        change(schema)
    file.write_text(json.dumps(schema))


def field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in schema["fields"] if one["name"] == name)
    return found


def gains(name: str, **said: Any) -> Change:
    new = {"name": name, "type": "string", "doc": "New.", **said}
    # First, so that every byte after it stands elsewhere.
    return lambda schema: schema["fields"].insert(0, new)


def loses(name: str) -> Change:
    return lambda schema: schema["fields"].remove(field(schema, name))


def gains_status(symbol: str) -> Change:
    return lambda schema: field(schema, "status")["type"]["symbols"].insert(1, symbol)


def loses_status(symbol: str) -> Change:
    return lambda schema: field(schema, "status")["type"]["symbols"].remove(symbol)


# Each release and every schema: whatever changes later is held to it without another test.
@pytest.mark.parametrize("one", RELEASED)
def test_what_a_release_wrote_is_read(one: Version) -> None:
    written = versions.written(one.text)
    record = sample(json.loads(one.text), {})
    body = io.BytesIO()
    fastavro.schemaless_writer(body, written.parsed, record)
    data = b"\0" + written.fingerprint.to_bytes(4, "big") + body.getvalue()
    found = CURRENT[one.name].decode(data)
    assert found.items() >= {k: v for k, v in record.items() if k in found}.items()


@pytest.mark.parametrize("one", RELEASED)
def test_what_is_written_now_is_read_by_every_release(one: Version) -> None:
    now = CURRENT[one.name]
    record = sample(now.json, {})
    body = io.BytesIO(now.encode(record)[5:])
    then = versions.written(one.text).parsed
    found: Any = fastavro.schemaless_reader(body, versions.written(now.text).parsed, then)
    assert found.items() >= {k: v for k, v in record.items() if k in found}.items()


def test_the_schemas_are_compatible_with_every_release_of_them() -> None:
    assert compatibility.breaks() == []
    assert {one.name for one in versions.released()} >= set(versions.names())


def test_the_next_release_reads_what_this_one_wrote(folder: Path) -> None:
    edit(folder, "link_event", gains("channel", default="web"), gains_status("REFUNDED"))
    later = Codec[Any]("link_event", folder)
    assert later.id != codec.LINK_EVENT.id
    fact = event("PAID")
    assert later.decode(codec.LINK_EVENT.encode(fact)) == {"channel": "web", **fact}


def test_this_release_reads_what_the_next_one_wrote(folder: Path, asked: list[int]) -> None:
    edit(folder, "link_event", gains("channel", default="web"), gains_status("REFUNDED"))
    later = Codec[Any]("link_event", folder)
    new = later.encode({**event("PAID"), "channel": "app", "status": "REFUNDED"})

    def tell(number: int) -> str | None:
        asked.append(number)
        return later.text if number == later.id else None

    codec.ask(tell)
    assert codec.LINK_EVENT.decode(new) == {**event("PAID"), "status": "UNKNOWN"}
    assert codec.LINK_EVENT.decode(new)["status"] == "UNKNOWN"
    assert codec.decode_any(new)[0] is codec.LINK_EVENT
    assert asked == [later.id], "once is enough"
    with pytest.raises(BadRecord, match=r"\(linkstatus.LinkEvent\) where linkstatus.LinkStatus"):
        codec.LINK_STATUS.decode(new)


def test_a_table_s_rows_of_another_release_are_read_and_written_anew(
    folder: Path, asked: list[int]
) -> None:
    edit(folder, "link_status", gains("channel", default="web"), gains_status("REFUNDED"))
    later = Codec[Any]("link_status", folder)
    codec.ask(lambda number: later.text if number == later.id else None)
    row = fold(None, event("PAID"), ProviderRules())
    table = Partition(codec.LINK_STATUS)
    table.restore(b"k", later.encode({**row, "channel": "app"}))
    assert codec.peek_status(table.encoded(b"k") or b"") == "PAID"
    assert table.get(b"k") == row
    table.put(b"k", row)
    assert dict(table.changes()) == {b"k": codec.LINK_STATUS.encode(row)}


def test_what_asks_nobody_is_told_before(asked: list[int]) -> None:
    """So that who reads in an event loop need not leave it for the ordinary record."""
    ours = codec.ANOMALY.encode(sample(codec.ANOMALY.json, {}))
    given = b"\0\0\0\0\7" + ours[5:]
    assert not codec.ANOMALY.asks(given), "there is nobody to ask"

    def tell(number: int) -> str | None:
        asked.append(number)
        return codec.ANOMALY.text

    codec.ask(tell)
    for data in (None, b"", b"\0\0", b"\1" + given[1:], ours):
        assert not codec.ANOMALY.asks(data)
    assert codec.ANOMALY.asks(given)
    codec.ANOMALY.decode(given)
    assert not codec.ANOMALY.asks(given), "it was told"
    codec.ask(tell)
    try:
        codec.write_ids({"anomaly": 7})
        assert not codec.ANOMALY.asks(given), "it is the one it writes"
        assert codec.NOTICE.asks(given)
    finally:
        codec.write_ids({})
    assert asked == [7]


def test_an_id_that_nobody_knows_is_refused_and_one_nobody_can_tell_is_not(
    asked: list[int],
) -> None:
    unknown = b"\0\0\0\0\7" + codec.ANOMALY.encode(sample(codec.ANOMALY.json, {}))[5:]
    with pytest.raises(BadRecord, match=r"schema id 7 where linkstatus\.Anomaly"):
        codec.ANOMALY.decode(unknown)

    def away(_: int) -> str | None:
        raise SchemaAway("Kafka is away")

    codec.ask(away)
    with pytest.raises(SchemaAway):
        codec.ANOMALY.decode(unknown)


@pytest.mark.parametrize("answer", ["{}", "no json", '"long"', '{"type": "record"}'])
def test_an_answer_that_is_no_schema_is_none(answer: str, asked: list[int]) -> None:
    codec.ask(lambda _: answer)
    with pytest.raises(BadRecord, match="schema id 7"):
        codec.ANOMALY.decode(b"\0\0\0\0\7")


def test_records_are_written_with_the_ids_that_are_set_and_read_under_both() -> None:
    record = sample(codec.ANOMALY.json, {})
    derived = codec.ANOMALY.encode(record)
    codec.ask(lambda number: codec.ANOMALY.text if number == 12 else None)
    codec.write_ids({"anomaly": 12})
    try:
        registered = codec.ANOMALY.encode(record)
        assert registered == b"\0\0\0\0\x0c" + derived[5:]
        assert [codec.ANOMALY.decode(one) for one in (registered, derived)] == [record, record]
    finally:
        codec.write_ids({})
    assert codec.ANOMALY.encode(record) == derived
    assert codec.ANOMALY.decode(registered) == record
    codec.ask(None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            gains("channel"),
            "LinkEvent.channel: what 0.1.0 wrote cannot be read: it is not there, and has no",
        ),
        (
            loses("provider_status"),
            "LinkEvent.provider_status: 0.1.0 cannot read what is written now: it is not there",
        ),
        (
            lambda s: field(s, "verified").update(type="string"),
            "LinkEvent.verified: what 0.1.0 wrote cannot be read: reader type: string not",
        ),
        (
            lambda s: field(s, "received_at").update(
                type={"type": "long", "logicalType": "timestamp-millis"}
            ),
            "LinkEvent.received_at: what 0.1.0 wrote cannot be read: timestamp-micros would be",
        ),
        (
            lambda s: field(s, "registration")["type"][1]["fields"].append(
                {"name": "shop", "type": "string"}
            ),
            "LinkEvent.registration.shop: what 0.1.0 wrote cannot be read: it is not there",
        ),
        (
            loses_status("OPENED"),
            "LinkEvent.status: what 0.1.0 wrote cannot be read: OPENED would be taken for",
        ),
        (
            lambda s: field(s, "status")["type"].pop("default") and loses_status("OPENED")(s),
            "LinkEvent.status: what 0.1.0 wrote cannot be read: {'OPENED'}",
        ),
    ],
)
def test_a_change_that_breaks_names_its_field(folder: Path, change: Change, said: str) -> None:
    edit(folder, "link_event", change)
    found = compatibility.breaks(folder)
    assert any(one.startswith(f"link_event.avsc, {said}") for one in found), found
    assert len(found) <= 4, "named where the enum is used, and not for each of its fields"
    with pytest.raises(compatibility.Breaks, match="LinkEvent"):
        compatibility.release("0.2.0", folder)


def test_a_schema_that_was_released_cannot_go(folder: Path) -> None:
    (folder / "notice.avsc").unlink()
    (said,) = compatibility.breaks(folder)
    assert said.startswith("notice.avsc, all of it: 0.1.0 had it")


def test_every_release_counts_and_not_only_the_last(folder: Path) -> None:
    edit(folder, "link_event", gains("channel", default="web"))
    assert compatibility.release("0.2.0", folder) == ["link_event"]
    edit(folder, "link_event", lambda schema: field(schema, "channel").pop("default"))
    (said,) = compatibility.breaks(folder)
    assert "what 0.1.0 wrote" in said, "0.2.0 has the field and could be read"


def test_a_release_keeps_what_changed_and_comes_after_the_last(folder: Path) -> None:
    assert compatibility.changed(folder) == []
    edit(folder, "notice", gains("channel", default="web"))
    assert compatibility.changed(folder) == ["notice"]
    with pytest.raises(ValueError, match=r"0\.1\.0 does not come after 0\.1\.0"):
        compatibility.release("0.1.0", folder)
    assert compatibility.release("0.10.0", folder) == ["notice"]
    assert [f.name for f in (folder / "released/0.10.0").iterdir()] == ["notice.avsc"]
    assert compatibility.changed(folder) == []
    assert [one.fingerprint for one in versions.distinct("notice", folder)] == [
        codec.NOTICE.fingerprint,
        Codec[Any]("notice", folder).fingerprint,
    ]


def test_a_schema_may_say_its_namespace_in_its_name(asked: list[int]) -> None:
    """As some write it who have only a registry's word for what Avro wants."""
    theirs = {**codec.NOTICE.json, "name": codec.NOTICE.full_name}
    theirs.pop("namespace")
    codec.ask({41: json.dumps(theirs)}.get)
    record = sample(codec.NOTICE.json, {})
    value = b"\0" + (41).to_bytes(4, "big") + codec.NOTICE.encode(record)[5:]
    assert codec.NOTICE.decode(value) == record
