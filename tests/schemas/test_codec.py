"""Typed records, Avro and framing agree; anything else is refused with its reason."""

import json
import types
import typing
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec, payouts, records, refund_records, versions
from schemas.codec import (
    ANOMALY,
    LINK_EVENT,
    LINK_STATUS,
    NOTICE,
    BadRecord,
    Codecs,
    Schema,
    SchemaAway,
)
from streams.domain.link_status import fold
from streams.domain.rules import ProviderRules
from tests.streams.domain.build import STATUSES, event
from tests.support.avro import framed, sample
from tests.support.codecs import CODECS

EACH_SCHEMA = pytest.mark.parametrize("schema", codec.ALL, ids=lambda schema: schema.name)

TYPES = vars(records) | vars(refund_records) | vars(payouts)


def type_of(schema: Any, named: dict[str, Any]) -> Any:
    """Return the Python type of an Avro schema, and check it on the way."""
    if isinstance(schema, list):
        assert schema[0] == "null", "optional fields are unions with null first"
        return type_of(schema[1], named) | None
    if isinstance(schema, str):
        plain = {"string": str, "long": int, "int": int, "boolean": bool, "bytes": bytes}
        return plain[schema] if schema in plain else named[schema.removeprefix("linkstatus.")]
    if schema["type"] == "array":
        return list[type_of(schema["items"], named)]  # type: ignore[misc]
    if schema["type"] == "map":
        return dict[str, type_of(schema["values"], named)]  # type: ignore[misc]
    if schema["type"] in ("enum", "record"):
        named[schema["name"]] = TYPES[schema["name"]]
        if schema["type"] == "record":
            check_record(schema, named)
        else:
            assert typing.get_args(named[schema["name"]]) == tuple(schema["symbols"])
            assert schema["default"] == "UNKNOWN"
        return named[schema["name"]]
    return type_of(schema["type"], named)


def with_text_keys(python_type: Any) -> Any:
    """Replace literal keys of a map by `str`: Avro knows only text."""
    if typing.get_origin(python_type) is dict:
        return dict[str, typing.get_args(python_type)[1]]  # type: ignore[misc]
    if isinstance(python_type, types.UnionType):
        return with_text_keys(typing.get_args(python_type)[0]) | None
    return python_type


def check_record(schema: Any, named: dict[str, Any]) -> None:
    hints = typing.get_type_hints(TYPES[schema["name"]])
    assert list(hints) == [field["name"] for field in schema["fields"]], schema["name"]
    for field in schema["fields"]:
        assert field["doc"], f"{schema['name']}.{field['name']} has no doc"
        hint = with_text_keys(hints[field["name"]])
        assert hint == type_of(field["type"], named), f"{schema['name']}.{field['name']}"


@EACH_SCHEMA
def test_typed_record_has_the_fields_of_its_schema(schema: Schema[Any]) -> None:
    assert schema.json["namespace"] == "linkstatus"
    type_of(schema.json, {})


def test_every_schema_file_has_a_constant_and_an_id_of_its_own() -> None:
    assert set(versions.names()) == {schema.name for schema in codec.ALL}
    assert len({schema.fingerprint for schema in codec.ALL}) == len(codec.ALL)


def test_other_avro_readers_see_times_as_timestamps() -> None:
    data = CODECS.encode(LINK_EVENT, event("PAID", at=1_700_000_000_000_000))
    schema = fastavro.parse_schema(json.loads(LINK_EVENT.text))
    record: Any = fastavro.schemaless_reader(BytesIO(data[5:]), schema, None)
    assert record["received_at"].isoformat() == "2023-11-14T22:13:20+00:00"


@EACH_SCHEMA
@given(junk=st.one_of(st.none(), st.binary(max_size=60)))
def test_junk_is_refused_with_a_reason(schema: Schema[Any], junk: bytes | None) -> None:
    with pytest.raises(BadRecord, match=r"\w+"):
        CODECS.decode(schema, junk)
    with pytest.raises(BadRecord):
        CODECS.decode(schema, framed(schema.fingerprint, b"\xff" * 3))


@given(cut=st.integers(5, 60))
def test_record_cut_short_or_too_long_is_refused(cut: int) -> None:
    data = CODECS.encode(LINK_EVENT, event("PAID"))
    with pytest.raises(BadRecord):
        CODECS.decode(LINK_EVENT, data[:cut])
    with pytest.raises(BadRecord, match="bytes too many"):
        CODECS.decode(LINK_EVENT, data + b"x" * cut)


def test_record_of_another_schema_is_refused_by_its_id() -> None:
    expected = r"id \d+ \(linkstatus.LinkEvent\) where linkstatus.LinkStatus has \d+"
    with pytest.raises(BadRecord, match=expected):
        CODECS.decode(LINK_STATUS, CODECS.encode(LINK_EVENT, event("PAID")))


def test_record_that_does_not_fit_is_not_encoded() -> None:
    wrong: Any = {**event("PAID"), "received_at": "yesterday"}
    with pytest.raises(BadRecord, match=r"linkstatus\.LinkEvent"):
        CODECS.encode(LINK_EVENT, wrong)


@pytest.mark.parametrize("status", STATUSES)
def test_peek_status_returns_the_status_of_a_row(status: records.Status) -> None:
    row = fold(None, event(status), ProviderRules())
    assert CODECS.peek_status(CODECS.encode(LINK_STATUS, row)) == status


RECORD = sample(ANOMALY.json)
OURS = CODECS.encode(ANOMALY, RECORD)
WITH_ID_7 = framed(7, OURS[5:])


def test_records_are_encoded_with_the_given_ids_and_decoded_with_both() -> None:
    find = {7: ANOMALY.text}.get
    assert Codecs({"anomaly": 7}).encode(ANOMALY, RECORD) == WITH_ID_7
    for codecs in (Codecs({"anomaly": 7}, find), Codecs(find=find)):
        assert [codecs.decode(ANOMALY, data) for data in (OURS, WITH_ID_7)] == [RECORD, RECORD]


def test_only_an_unknown_id_needs_a_lookup_and_only_once() -> None:
    """A reader in an event loop leaves it only for the records that need a lookup."""
    assert not CODECS.needs_lookup(ANOMALY, WITH_ID_7), "these codecs look up nothing"
    find = {7: ANOMALY.text}.get
    codecs = Codecs(find=find)
    for data in (None, b"", b"\0\0", b"\1" + WITH_ID_7[1:], OURS):
        assert not codecs.needs_lookup(ANOMALY, data)
    assert codecs.needs_lookup(ANOMALY, WITH_ID_7)
    codecs.learn(ANOMALY, WITH_ID_7)
    assert not codecs.needs_lookup(ANOMALY, WITH_ID_7)
    codecs = Codecs({"anomaly": 7}, find)
    assert not codecs.needs_lookup(ANOMALY, WITH_ID_7), "it is the id of its own records"
    assert codecs.needs_lookup(NOTICE, WITH_ID_7)


def away(_: int) -> str | None:
    raise SchemaAway("Kafka does not answer")


def test_record_with_an_unknown_id_is_bad_unless_the_lookup_fails() -> None:
    with pytest.raises(BadRecord, match=r"schema id 7 where linkstatus\.Anomaly"):
        CODECS.decode(ANOMALY, WITH_ID_7)
    with pytest.raises(SchemaAway):
        Codecs(find=away).decode(ANOMALY, WITH_ID_7)


@pytest.mark.parametrize("text", ["{}", "no json", '"long"', '{"type": "record"}'])
def test_id_of_a_text_that_is_no_record_schema_is_unknown(text: str) -> None:
    with pytest.raises(BadRecord, match="schema id 7"):
        Codecs(find={7: text}.get).decode(ANOMALY, WITH_ID_7)


def test_found_schema_may_have_its_namespace_in_its_name() -> None:
    theirs = {**ANOMALY.json, "name": ANOMALY.full_name}
    del theirs["namespace"]
    assert Codecs(find={7: json.dumps(theirs)}.get).decode(ANOMALY, WITH_ID_7) == RECORD
