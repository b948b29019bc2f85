"""Framing and Avro: what is written is read, and nothing else is taken for it."""

import io
import json
import types
import typing
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec, records, versions
from schemas.codec import BadRecord, Codec, decode_any, peek_status
from streams.domain.link import fold
from streams.domain.rules import ProviderRules
from tests.streams.domain.build import STATUSES, event, link_events

ALL = pytest.mark.parametrize("one", codec.ALL, ids=lambda one: one.name)


def type_of(schema: Any, named: dict[str, Any]) -> Any:
    """The Python type that mirrors an Avro schema."""
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
        named[schema["name"]] = getattr(records, schema["name"])
        if schema["type"] == "record":
            check_record(schema, named)
        else:
            assert typing.get_args(named[schema["name"]]) == tuple(schema["symbols"])
            assert schema["default"] == "UNKNOWN"
        return named[schema["name"]]
    return type_of(schema["type"], named)


def keys_as_text(mirror: Any) -> Any:
    """A map's keys are text in Avro; the types say which texts."""
    if typing.get_origin(mirror) is dict:
        return dict[str, typing.get_args(mirror)[1]]  # type: ignore[misc]
    if isinstance(mirror, types.UnionType):
        return keys_as_text(typing.get_args(mirror)[0]) | None
    return mirror


def check_record(schema: Any, named: dict[str, Any]) -> None:
    mirror = typing.get_type_hints(getattr(records, schema["name"]))
    assert list(mirror) == [field["name"] for field in schema["fields"]], schema["name"]
    for field in schema["fields"]:
        assert field["doc"], f"{schema['name']}.{field['name']} has no doc"
        expected = type_of(field["type"], named)
        found = keys_as_text(mirror[field["name"]])
        assert found == expected, f"{schema['name']}.{field['name']}"


@ALL
def test_the_types_mirror_the_schema(one: Codec[Any]) -> None:
    assert one.json["namespace"] == "linkstatus"
    named = {one.json["name"]: getattr(records, one.json["name"])}
    check_record(one.json, named)


def test_every_schema_file_has_its_codec_and_ids_differ() -> None:
    assert set(versions.names()) == {one.name for one in codec.ALL}
    assert len({one.id for one in codec.ALL}) == len(codec.ALL)


@given(fact=link_events())
def test_a_record_survives_its_encoding(fact: records.LinkEvent) -> None:
    encoded = codec.LINK_EVENT.encode(fact)
    assert codec.LINK_EVENT.decode(encoded) == fact
    found, record = decode_any(encoded)
    assert (found, record) == (codec.LINK_EVENT, fact)


def test_an_ordinary_reader_sees_times_as_timestamps() -> None:
    encoded = codec.LINK_EVENT.encode(event("PAID", at=1_700_000_000_000_000))
    plain: Any = fastavro.schemaless_reader(
        io.BytesIO(encoded[5:]), fastavro.parse_schema(json.loads(codec.LINK_EVENT.text)), None
    )
    assert plain["received_at"].isoformat() == "2023-11-14T22:13:20+00:00"


@ALL
@given(junk=st.one_of(st.none(), st.binary(max_size=60)))
def test_junk_is_refused_with_a_reason(one: Codec[Any], junk: bytes | None) -> None:
    with pytest.raises(BadRecord, match=r"\w+"):
        one.decode(junk)
    if junk is not None:
        with pytest.raises(BadRecord):
            one.decode(one.frame + b"\xff" * 3)


@given(cut=st.integers(5, 60))
def test_a_record_cut_short_or_too_long_is_refused(cut: int) -> None:
    encoded = codec.LINK_EVENT.encode(event("PAID"))
    with pytest.raises(BadRecord):
        codec.LINK_EVENT.decode(encoded[:cut])
    with pytest.raises(BadRecord, match="bytes too many"):
        codec.LINK_EVENT.decode(encoded + b"x" * cut)


def test_another_schema_is_refused_by_its_id() -> None:
    with pytest.raises(
        BadRecord, match=r"id \d+ \(linkstatus.LinkEvent\) where linkstatus.LinkStatus has \d+"
    ):
        codec.LINK_STATUS.decode(codec.LINK_EVENT.encode(event("PAID")))


def test_what_does_not_fit_is_not_written() -> None:
    wrong: Any = {**event("PAID"), "received_at": "yesterday"}
    with pytest.raises(BadRecord, match=r"linkstatus\.LinkEvent"):
        codec.LINK_EVENT.encode(wrong)


@pytest.mark.parametrize("status", STATUSES)
def test_the_status_of_a_row_is_read_without_decoding_it(status: records.Status) -> None:
    row = fold(None, event(status), ProviderRules())
    assert peek_status(codec.LINK_STATUS.encode(row)) == status
