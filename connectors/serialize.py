"""Records as JSON: pydantic models, built from the Avro schemas with their documentation.

Times become RFC 3339; secret attributes are masked. A record that an older release stored lacks
newer fields; the defaults of the schema fill them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema, create_model

from connectors.masking import masked_attributes
from schemas import codec
from schemas.codec import Schema

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PRIMITIVES = {"string": str, "null": None, "boolean": bool, "int": int, "long": int}


def rfc3339(micros: int | None) -> str | None:
    """The time with microseconds; None for None and for a time outside the years 1 to 9999."""
    if micros is None:
        return None
    try:
        time = _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return None
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}Z"


# Microseconds since the epoch, UTC, as RFC 3339.
Time = Annotated[
    int | None,
    PlainSerializer(rfc3339),
    WithJsonSchema({"type": ["string", "null"], "format": "date-time"}),
]
Attributes = Annotated[dict[str, str], PlainSerializer(masked_attributes)]


class Model(BaseModel):
    """The base of every answer: each field is always there."""

    model_config = ConfigDict(
        from_attributes=True, json_schema_serialization_defaults_required=True
    )


def as_json(schema: Schema[Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as the JSON API shows it."""
    return _models()[schema.json["name"]].model_validate(record).model_dump(mode="json")


def model_of(schema: Schema[Any]) -> type[BaseModel]:
    """The model of a schema's records."""
    return _models()[schema.json["name"]]


@cache
def _models() -> dict[str, type[BaseModel]]:
    builder = _Builder()
    return {schema.json["name"]: builder.type_of(schema.json) for schema in codec.ALL}


class _Builder:
    """Builds types from Avro schemas. Named types that schemas share have one model."""

    def __init__(self) -> None:
        self._named: dict[str, Any] = {}

    def type_of(self, avro: Any) -> Any:
        """The Python type of an Avro type."""
        if isinstance(avro, str):
            name = avro.rpartition(".")[2]
            return self._named[name] if name in self._named else _PRIMITIVES[avro]
        if isinstance(avro, list):
            return Union[tuple(self.type_of(part) for part in avro)]  # noqa: UP007
        if avro.get("logicalType") == "timestamp-micros":
            return Time
        match avro["type"]:
            case "record" | "enum" if avro["name"] in self._named:
                return self._named[avro["name"]]
            case "record":
                self._named[avro["name"]] = self._record(avro)
            case "enum":
                self._named[avro["name"]] = Literal[tuple(avro["symbols"])]
            case "array":
                return list[self.type_of(avro["items"])]  # type: ignore[misc]
            case "map":
                return dict[str, self.type_of(avro["values"])]  # type: ignore[misc]
            case primitive:
                return _PRIMITIVES[primitive]
        return self._named[avro["name"]]

    def _record(self, avro: Any) -> type[BaseModel]:
        fields: dict[str, Any] = {field["name"]: self._field(field) for field in avro["fields"]}
        return create_model(avro["name"], __base__=Model, __doc__=avro["doc"], **fields)

    def _field(self, field: Any) -> tuple[Any, Any]:
        kind = Attributes if field["name"] == "attributes" else self.type_of(field["type"])
        return kind, Field(field.get("default", ...), description=field.get("doc"))
