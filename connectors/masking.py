"""Secrets and card tokens are masked wherever people and programs can see them.

A body is parsed before names and values are judged: escapes, JSON in a string, forms and
percent-encoding can hide both. The parser keeps what it does not mask as it was received, and takes
broken and cut bodies, too.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus, unquote_plus

MASK = "•••"
# Names whose values let a reader charge a card or pretend to be a provider; letters only. The first
# ones count at the end of a name, too, such as `merchant.card.number`.
_SECRET_ENDINGS = ("cardnumber", "registrationid", "securitycode", "accesstoken", "clientsecret")
_SECRET_NAMES = {*_SECRET_ENDINGS, "signature", "cvv", "cvc", "token", "secret", "password"}
_SECRET_HEADER = re.compile(r"signature|authorization|secret|token|cookie|api[-_]?key", re.I)
# The tokens of JSON. A string may lack its end.
_JSON = re.compile(r'"(?:[^"\\]|\\.)*"?|[{}\[\]:,]|\s+|[^\s"{}\[\]:,]+', re.DOTALL)
_LOOKS_LIKE_JSON = re.compile(r'\A\s*[\[{"]|"\s*:')
_SURROGATE = re.compile("[\ud800-\udfff]")
# A field of a form, also of one in a URL.
_FIELD = re.compile(r"(?P<name>(?:^|(?<=[?&;\s]))[^=&?;\s]+)=(?P<value>[^&\s]*)")
# A card number: its issuer's digit and its length, or the groups that people write. `_mask_card`
# checks its check digit.
_CARD = re.compile(
    r"(?<![0-9])(?:[2-6][0-9]{13,18}"
    r"|[2-6][0-9]{3}(?:[ .\-\u00a0][0-9]{4}){3}(?:[ .\-\u00a0][0-9]{1,3})?"
    r"|3[47][0-9]{2}[ .\-\u00a0][0-9]{6}[ .\-\u00a0][0-9]{5})(?![0-9])"
)
# JSON in a string of JSON, or forms in forms, are read to this depth; deeper text is masked.
_DEEPEST = 5


def masked_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return a provider's values by name, without secrets."""
    return {name: MASK if _is_secret(name) else _masked(v) for name, v in attributes.items()}


def masked_headers(headers: Iterable[Sequence[str]]) -> dict[str, str]:
    """Return record headers by name, without signatures and credentials."""
    return {name: MASK if _SECRET_HEADER.search(name) else _masked(v) for name, v in headers}


def masked_record(record: Any) -> Any:
    """Return a decoded record with its `attributes` masked, wherever they are."""
    if isinstance(record, list):
        return [masked_record(part) for part in record]
    if not isinstance(record, dict):
        return record
    return {
        name: masked_attributes(value) if name == "attributes" and value else masked_record(value)
        for name, value in record.items()
    }


def masked_body(body: bytes) -> bytes:
    """Return the body without its secrets, whether it is JSON, form-encoded or broken."""
    text = body.decode(errors="surrogateescape")
    return _masked(text).encode(errors="surrogateescape")


def body_json(body: bytes | None) -> dict[str, Any]:
    """Return a body as `{size, text}`, or as `{size, base64}` if it is not UTF-8."""
    if body is None:
        return {"size": 0}
    shown = masked_body(body)
    try:
        return {"size": len(body), "text": shown.decode()}
    except UnicodeDecodeError:
        return {"size": len(body), "base64": base64.b64encode(shown).decode()}


def _is_secret(name: str) -> bool:
    letters, last = (re.sub("[^a-z]", "", n.lower()) for n in (name, name.rpartition(".")[2]))
    return last in _SECRET_NAMES or letters.endswith(_SECRET_ENDINGS)


def _masked(text: str, depth: int = 0) -> str:
    if depth > _DEEPEST:
        return MASK
    if _LOOKS_LIKE_JSON.search(text):
        return _masked_json(text, depth)
    if "%" in text and "=" not in text:
        decoded = unquote_plus(text, errors="surrogateescape")
        # Decoded text differs, so the recursion ends; shown as it was sent if it has no secret.
        if decoded != text and (masked := _masked(decoded, depth + 1)) != decoded:
            return masked
    text = _FIELD.sub(lambda field: _masked_field(field, depth), text)
    return _CARD.sub(_mask_card, text)


def _masked_field(field: re.Match[str], depth: int) -> str:
    name = unquote_plus(field["name"], errors="surrogateescape")
    value = unquote_plus(field["value"], errors="surrogateescape")
    if _is_secret(name.lstrip("{[\"'")):
        return f"{field['name']}={MASK}"
    masked = _masked(value, depth + 1)
    if masked == value:
        return field[0]
    encoded = quote_plus(masked, errors="replace").replace(quote_plus(MASK), MASK)
    return f"{field['name']}={encoded}"


def _masked_json(text: str, depth: int) -> str:
    parts = _JSON.findall(text)
    masked: list[str] = []
    # Whether each open object or list is the value of a secret name; whether the next value is.
    secret, next_is_secret = [False], False
    for position, part in enumerate(parts):
        if part in ("{", "["):
            secret.append(secret[-1] or next_is_secret)
            next_is_secret = False
        elif part in ("}", "]"):
            secret[-1:] = [] if len(secret) > 1 else secret[-1:]
        elif part == ",":
            next_is_secret = False
        elif part[0] == '"' and _is_name(parts, position):
            next_is_secret = _is_secret(_text(part))
        elif part != ":" and not part.isspace():
            hidden = secret[-1] or next_is_secret
            part = f'"{MASK}"' if hidden else _masked_scalar(part, depth)
        masked.append(part)
    return _CARD.sub(_mask_card, "".join(masked))


def _is_name(parts: Sequence[str], position: int) -> bool:
    following = (part for part in parts[position + 1 : position + 3] if not part.isspace())
    return next(following, "") == ":"


def _masked_scalar(part: str, depth: int) -> str:
    if part[0] != '"':
        return _masked(part, depth + 1)
    text = _text(part)
    masked = _masked(text, depth + 1)
    if masked == text:
        return part
    # A lone surrogate, from an escape, cannot be encoded.
    return json.dumps(masked, ensure_ascii=bool(_SURROGATE.search(masked)))


def _text(part: str) -> str:
    """Return a JSON string's text; as it stands if it is broken."""
    try:
        return str(json.loads(part, strict=False))
    except ValueError:
        return part.strip('"')


def _mask_card(match: re.Match[str]) -> str:
    """Keep the first six and the last four digits of a card number (ISO/IEC 7812: Luhn)."""
    text = match[0]
    for number in (text, re.sub(r"[^0-9][0-9]{1,3}$", "", text)):
        digits = re.sub("[^0-9]", "", number)
        if _has_check_digit(digits):
            return digits[:6] + MASK + digits[-4:] + text[len(number) :]
    return text


def _has_check_digit(number: str) -> bool:
    digits = [int(digit) for digit in number][::-1]
    check = sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return len(digits) >= 14 and check % 10 == 0
