"""Records as JSON for people and programs: times in RFC 3339, secrets and card tokens masked."""

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from schemas.codec import Codec

MASK = "•••"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Names whose values let somebody charge a card or pass for a provider.
_SECRET_NAMES = (
    "registrationId",
    "signature",
    "card.number",
    "cardNumber",
    "card.cvv",
    "cvv",
    "cvc",
    "securityCode",
    "token",
    "access_token",
    "client_secret",
    "secret",
    "password",
)
_SECRET_KEYS = frozenset(name.lower() for name in _SECRET_NAMES)
_SECRET_HEADER = re.compile(r"signature|authorization|secret|token|cookie|api[-_]?key", re.I)
_ALTERNATIVES = b"|".join(re.escape(name).encode() for name in _SECRET_NAMES)
_IN_JSON = re.compile(
    rb'("(?:[^"\\]*\.)?(?:' + _ALTERNATIVES + rb')"\s*:\s*)("(?:[^"\\]|\\.)*"?|[^\s,}\]]+)', re.I
)
_IN_FORM = re.compile(rb"((?:^|&)(?:[^&=]*\.)?(?:" + _ALTERNATIVES + rb")=)[^&]*", re.I)

# A card's number wherever it stands: its issuer's digit, its length, and its check digit.
_CARD = re.compile(rb"(?<![0-9])[2-6][0-9]{13,18}(?![0-9])")

Change = Callable[[Any], Any]


def rfc3339(micros: int | None) -> str | None:
    """The time as text with microseconds; None for none, and for one beyond the years 1 to 9999."""
    if micros is None:
        return None
    try:
        moment = _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def as_json(codec: Codec[Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the times its schema declares as text, and secret attributes masked."""
    change = _change_of(codec)
    shown: dict[str, Any] = change(record) if change else dict(record)
    if attributes := shown.get("attributes"):
        shown["attributes"] = masked_texts(attributes)
    return shown


def masked_texts(attributes: Mapping[str, str]) -> dict[str, str]:
    """What a provider said by name, without secrets."""
    return {name: MASK if _is_secret(name) else value for name, value in attributes.items()}


def _is_secret(name: str) -> bool:
    lower = name.lower()
    return lower in _SECRET_KEYS or lower.rpartition(".")[2] in _SECRET_KEYS


@cache
def _change_of(codec: Codec[Any]) -> Change | None:
    return _change(codec.json, {})


def _change(schema: Any, named: dict[str, Change | None]) -> Change | None:
    """How to show a value of `schema`; None where it is shown as it is."""
    if isinstance(schema, str):
        return named.get(schema.rpartition(".")[2])
    if isinstance(schema, list):
        change = next((c for part in schema if (c := _change(part, named))), None)
        return change and _unless_null(change)
    if schema.get("logicalType") == "timestamp-micros":
        return rfc3339
    if schema["type"] == "record":
        return named.setdefault(schema["name"], _record(schema, named))
    if schema["type"] == "array":
        items = _change(schema["items"], named)
        return items and (lambda values: [items(value) for value in values])
    if schema["type"] == "map":
        each = _change(schema["values"], named)
        return each and (lambda values: {key: each(value) for key, value in values.items()})
    return None


def _unless_null(change: Change) -> Change:
    return lambda value: None if value is None else change(value)


def _record(schema: Any, named: dict[str, Change | None]) -> Change | None:
    fields = {f["name"]: _change(f["type"], named) for f in schema["fields"]}
    changes = {name: change for name, change in fields.items() if change}
    if not changes:
        return None

    def show(record: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: changes[name](value) if name in changes else value
            for name, value in record.items()
        }

    return show


def masked_headers(headers: list[list[str]]) -> dict[str, str]:
    """Record headers by name, without signatures and credentials."""
    return {name: MASK if _SECRET_HEADER.search(name) else value for name, value in headers}


def masked_body(body: bytes) -> bytes:
    """The body with secret values replaced, be it JSON, form-encoded or broken."""
    body = _IN_JSON.sub(rb'\1"' + MASK.encode() + b'"', body)
    body = _IN_FORM.sub(rb"\1" + MASK.encode(), body)
    return _CARD.sub(_without_card, body)


def _without_card(found: re.Match[bytes]) -> bytes:
    """What looks like a card's number but for its first six and last four digits."""
    number = found[0]
    digits = [int(digit) for digit in number.decode()][::-1]
    check = sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return number[:6] + MASK.encode() + number[-4:] if check % 10 == 0 else number


def body_json(body: bytes | None) -> dict[str, Any]:
    """A body as `{size, text}`, or `{size, base64}` if it is no text."""
    if body is None:
        return {"size": 0, "text": None}
    shown = masked_body(body)
    try:
        return {"size": len(body), "text": shown.decode()}
    except UnicodeDecodeError:
        return {"size": len(body), "base64": base64.b64encode(shown).decode()}
