"""Parsing of a provider's payloads: checked ids, exact numbers, clear reasons.

The id and the status decide: their fields are required. A field with a default is a side field: a
value of it that cannot be read counts as absent, so that it never hides the status. Its text goes
into the attributes, see `Payload.unread`.
"""

import codecs
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Annotated, Any, ClassVar, Self, TypeVar, Union, get_args, get_origin

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StrictStr,
    StringConstraints,
    ValidationError,
    model_validator,
)

from connectors.providers.base import UnknownStatus, Unreadable
from connectors.reasons import fields_reason
from schemas.ids import LONGEST_ID, is_identifier
from schemas.money import BadAmount, minor_units
from schemas.records import Status

Document = Mapping[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What stands for a character that no database takes: NUL, half of a surrogate pair, a byte that is
# not UTF-8. It is a control character, so a text with it is no id.
_SUBSTITUTE = "\x1a"
_BAD_CHARACTERS = re.compile("[\0\ud800-\udfff]")
_LONGEST_TEXT = 500


def _identifier(text: str) -> str:
    if not is_identifier(text):
        limits = f"is not 1 to {LONGEST_ID} characters without control characters"
        raise ValueError(f"{limits}, or is a path")
    return text


def _text_only(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not text")
    return value


def _plausible(time: datetime) -> datetime:
    """Return the time with a zone, UTC by default. An implausible year would overflow elsewhere."""
    if not 1970 < time.year < 2200:
        raise ValueError("is not a time between 1971 and 2199")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


# An id or a status: opaque, of a limited length, without control characters.
Identifier = Annotated[StrictStr, AfterValidator(_identifier)]
Timestamp = Annotated[datetime, BeforeValidator(_text_only), AfterValidator(_plausible)]
CurrencyCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$", strict=True)]
# A currency that must be known, in letters of any case.
AnyCaseCurrency = Annotated[CurrencyCode, BeforeValidator(lambda text: _text_only(text).upper())]
MinorUnits = Annotated[int, Field(ge=0, lt=10**15, strict=True)]
SignedMinorUnits = Annotated[int, Field(gt=-(10**15), lt=10**15, strict=True)]
# A text that goes into the attributes only masked.
SecretText = Annotated[StrictStr | None, Field(repr=False)]


class Payload(BaseModel):
    """A provider's JSON. Unknown fields are accepted: providers add them without notice."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    # The side fields that could not be read. Not a private attribute: each document would pay.
    _unread: ClassVar[Document] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _leave_out_unreadable(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Read the document without the side fields that cannot be read."""
        unread: dict[str, Any] = {}
        while True:
            try:
                payload = handler(data)
            except ValidationError as error:
                names = _side_fields(error, data) - cls._required_names()
                if not names:
                    raise
                unread |= {name: data[name] for name in names}
                data = {name: value for name, value in data.items() if name not in names}
            else:
                if unread:
                    payload.__dict__["_unread"] = unread
                return payload

    @classmethod
    def _required_names(cls) -> set[str]:
        return {name for name, field in cls.model_fields.items() if field.is_required()}

    def unread(self) -> dict[str, str]:
        """Return the side fields that could not be read, as attributes. A secret text is masked.

        An inner field has the name `outer.inner`.
        """
        texts = self._unread_texts() if self._unread else {}
        for name in _inner_documents(type(self)):
            inner: Payload | None = getattr(self, name)
            if inner is not None:
                texts |= {f"{name}.{field}": text for field, text in inner.unread().items()}
        return texts

    def _unread_texts(self) -> dict[str, str]:
        texts = attributes({name: value for name, value in self._unread.items() if value != ""})
        for name in texts.keys() & type(self).model_fields.keys():
            if not type(self).model_fields[name].repr:
                texts[name] = masked(texts[name])
        return {name: text[:_LONGEST_TEXT] for name, text in texts.items()}


@cache
def _inner_documents(model: type[Payload]) -> tuple[str, ...]:
    """Return the names of the fields that hold one document, or None."""
    return tuple(
        name for name, field in model.model_fields.items() if _is_document(field.annotation)
    )


def _is_document(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, UnionType):
        return any(map(_is_document, get_args(annotation)))
    return isinstance(annotation, type) and issubclass(annotation, Payload)


def _side_fields(error: ValidationError, data: Any) -> set[str]:
    """Return the names of the wrong fields that the document contains."""
    if not isinstance(data, Mapping):
        return set()
    wrong = error.errors(include_input=False, include_url=False, include_context=False)
    return {str(e["loc"][0]) for e in wrong if e["loc"]} & data.keys()


Model = TypeVar("Model", bound=Payload)
# The provider's status -> our status.
Statuses = Mapping[str, Status]


def map_status(statuses: Statuses, link_id: str, provider_status: str) -> Status:
    """Return our status for the provider's. Raises UnknownStatus."""
    try:
        return statuses[provider_status]
    except KeyError:
        raise UnknownStatus(link_id, provider_status) from None


def micros(time: datetime | None) -> int | None:
    """Return microseconds since the epoch, UTC."""
    return None if time is None else (time - _EPOCH) // timedelta(microseconds=1)


def first_identifier(body: bytes, *fields: str) -> str | None:
    """Return the first of these top-level fields that holds an id. Never raises."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    return next((document[name] for name in fields if is_identifier(document.get(name))), None)


def json_value(body: bytes) -> Any:
    """Return the JSON in `body`, with exact decimal fractions. Raises ValueError.

    A character that no database takes becomes a substitute, so that it hides no other field.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            return _tolerant(body, error)
        return _tolerant(body) if b"\\u0000" in body or _has_float(document) else document
    except RecursionError:
        raise ValueError("it is too deeply nested") from None


def _has_float(document: Any) -> bool:
    """Return whether orjson has read a number as a float: a fraction, or a very long integer."""
    values = [document]
    for value in values:
        kind = type(value)
        if kind is dict:
            values += value.values()
        elif kind is list:
            values += value
        elif kind is float:
            return True
    return False


def _tolerant(body: bytes, reason: ValueError | None = None) -> Any:
    """Return the JSON, read by Python's parser. Raises ValueError, by default `reason`."""
    text = body.decode(errors="surrogateescape")
    try:
        document = json.loads(
            text,
            strict=False,
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=Decimal,
        )
    except ValueError as error:
        raise reason or error from None
    can_be_bad = "\\u" in text or _BAD_CHARACTERS.search(text)
    return clean(document) if can_be_bad else document


def _decimal(text: str) -> Decimal:
    """Return a number; an infinite one if it is too large for a Decimal."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return Decimal("Infinity")


def _integer(text: str) -> int | Decimal:
    """Return a whole number, without Python's limit of its digits."""
    return int(text) if len(text) < 1000 else Decimal(text)


def clean(value: Any) -> Any:
    """Return the value with a substitute for each character that no database takes."""
    if isinstance(value, str):
        return _BAD_CHARACTERS.sub(_SUBSTITUTE, value)
    if isinstance(value, dict):
        return {clean(name): clean(inner) for name, inner in value.items()}
    return [clean(inner) for inner in value] if isinstance(value, list) else value


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`, see `json_value`. Raises Unreadable."""
    try:
        document = json_value(body)
    except ValueError as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else error
        raise Unreadable(f"the body is not JSON: {reason}") from None
    if not isinstance(document, dict):
        raise Unreadable("the body is not a JSON object")
    return document


def validate(model: type[Model], document: Document) -> Model:
    """Return `document` as `model`. Raises Unreadable with the names of the wrong fields, without
    their values.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise Unreadable(fields_reason(error)) from None


def member(document: Any, *path: str) -> Any:
    """Return the value at a path of names in JSON, or None if there is none."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def parse(model: type[Model], body: bytes) -> Model:
    """Return the JSON object in `body` as `model`. Raises Unreadable."""
    return validate(model, json_object(body))


def attributes(values: Document, prefix: str = "") -> dict[str, str]:
    """Return the values as text, without the empty ones. Raises Unreadable if nested too deeply."""
    try:
        return {prefix + name: _text(value) for name, value in values.items() if value is not None}
    except RecursionError:
        raise Unreadable("the body is too deeply nested") from None


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, Decimal) else json.dumps(value, default=str)


def flat_attributes(values: Document) -> dict[str, str]:
    """Return the values as text, without nested ones: these can contain personal data, and stay in
    the raw record only.
    """
    flat = {name: v for name, v in values.items() if not isinstance(v, dict | list)}
    return attributes(flat)


def amount(name: str, value: Any, currency: str | None) -> tuple[int | None, dict[str, str]]:
    """Return an amount of major units in minor units and no attributes, or None and its text as the
    attribute `name` if it is not an amount of its currency.
    """
    text = attributes({name: value})
    try:
        return (minor_units(text[name], currency or ""), {}) if text else (None, {})
    except BadAmount:
        return None, text


def masked(token: str) -> str:
    """Return a masked token: its last four characters, or none of them if it is short."""
    return "****" + (token[-4:] if len(token) >= 12 else "")
