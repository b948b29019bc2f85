"""What the providers share when they read a payload: checked ids, exact numbers, clear reasons."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, TypeGuard, TypeVar

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StrictStr,
    StringConstraints,
    ValidationError,
)

from connectors.provider import Facts, Raw, UnknownWord, Unreadable
from schemas.records import Status

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_ID = 200
_CONTROLS = frozenset(map(chr, range(32))) | {"\x7f"}


# As a segment of a path these name the folder or its parent, however they are escaped: an invented
# id must not choose which of the provider's resources we ask for.
_PATHS = frozenset({".", ".."})


def is_identifier(value: object) -> TypeGuard[str]:
    """Whether `value` can be an id of anything."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= LONGEST_ID
        and _CONTROLS.isdisjoint(value)
        and value not in _PATHS
    )


def _identifier(text: str) -> str:
    if text in _PATHS:
        raise ValueError("is a path")
    if not is_identifier(text):
        raise ValueError(f"is not 1 to {LONGEST_ID} characters without control characters")
    return text


def _only_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is no text")
    return value


def _sane(moment: datetime) -> datetime:
    """UTC where no zone is given; years that are clearly broken would overflow elsewhere."""
    if not 1970 < moment.year < 2200:
        raise ValueError("is no time between 1971 and 2199")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# Ids and status words: opaque, but no longer than any provider's, and without control characters.
Identifier = Annotated[StrictStr, AfterValidator(_identifier)]
Moment = Annotated[datetime, BeforeValidator(_only_text), AfterValidator(_sane)]
CurrencyCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$", strict=True)]


class Payload(BaseModel):
    """A provider's JSON. Fields we do not know are no error: providers add them without notice."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Model = TypeVar("Model", bound=Payload)


def status(table: Mapping[str, Status], link_id: str, word: str) -> Status:
    """Our word for the provider's. Raises UnknownWord."""
    try:
        return table[word]
    except KeyError:
        raise UnknownWord(link_id, word) from None


def micros(moment: datetime | None) -> int | None:
    """Microseconds since the epoch, UTC."""
    return None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)


def first_identifier(body: bytes, *fields: str) -> str | None:
    """The first of these top-level fields that holds an id. Never raises: it places a record."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(payload, dict):
        return None
    return next((payload[name] for name in fields if is_identifier(payload.get(name))), None)


def _is_inexact(value: object) -> bool:
    """Whether orjson made a float of a number: a fraction, or an integer too long for it."""
    if isinstance(value, dict):
        return any(_is_inexact(inner) for inner in value.values())
    if isinstance(value, list):
        return any(map(_is_inexact, value))
    return isinstance(value, float)


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`, decimal fractions exact. Raises Unreadable."""
    if b"\0" in body or b"\\u0000" in body:
        raise Unreadable("the body holds a NUL character")
    try:
        # orjson refuses what is not strictly JSON: NaN, lone surrogates, bottomless nesting.
        payload = orjson.loads(body)
        if _is_inexact(payload):
            payload = json.loads(body, parse_float=Decimal)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"the body is no JSON: {error.msg}") from None
    except (ValueError, ArithmeticError, RecursionError):
        raise Unreadable("the body holds a number or a nesting beyond all bounds") from None
    if not isinstance(payload, dict):
        raise Unreadable("the body is no JSON object")
    return payload


def checked(model: type[Model], payload: Mapping[str, Any]) -> Model:
    """`payload` as `model`. Raises Unreadable naming each wrong field, but not its value."""
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False, include_context=False)
        reasons = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in wrong)
        raise Unreadable("; ".join(reasons).replace("Value error, ", "")) from None


def load(model: type[Model], body: bytes) -> Model:
    """The payload in `body` as `model`. Raises Unreadable."""
    return checked(model, json_object(body))


def texts(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Attributes: each value as text, nothing where there is no value."""
    try:
        return {prefix + name: _text(value) for name, value in values.items() if value is not None}
    except RecursionError:
        raise Unreadable("the body is nested beyond all bounds") from None


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, Decimal) else json.dumps(value, default=str)


def masked(token: str) -> str:
    """A token that is not to be stored: its last four characters, if that hides enough of it."""
    return "****" + (token[-4:] if len(token) >= 12 else "")


# There is no such link, it is gone, or what was asked about can be no link's id.
_NO_SUCH_LINK = {"404": "not found", "410": "gone", "422": "no such id"}


def refusal(raw: Raw) -> Facts | None:
    """What an answer without success says: that there is no such link is a fact, else it is
    Unreadable.
    """
    word = not_there(raw)
    return Facts(events=(raw.not_found(word),)) if word else None


def not_there(raw: Raw) -> str | None:
    """In which word an answer says that what was asked about is not there; None for a success.
    Raises Unreadable for any other refusal.
    """
    code = raw.headers.get("lookup-status", "200")
    if code.startswith("2"):
        return None
    if word := _NO_SUCH_LINK.get(code):
        return word
    raise Unreadable(f"the lookup was answered with {code}")


def same_link(raw: Raw, told: str | None) -> str:
    """The link that was asked about. Raises Unreadable when the answer is about another one."""
    if told not in (None, raw.link_id):
        raise Unreadable("the answer is about another link than the one asked about")
    return raw.link_id or ""
