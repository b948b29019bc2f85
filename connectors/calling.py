"""What the providers share when they ask their API: which answers count, in which words it
refuses, OAuth tokens. No I/O.
"""

import json
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import quote

import orjson
from pydantic import AfterValidator, Field, StrictStr, StringConstraints, ValidationError

from connectors.provider import ApiRequest, ApiResponse, LookupRefused
from connectors.reading import Payload

# The base of an API, kept without the slash at its end.
Url = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[^\s/]\S*$", max_length=500),
    AfterValidator(lambda url: url.rstrip("/")),
]

# Asking again later may cure these: no or an old token, a time-out, too many requests.
CURABLE = frozenset({401, 403, 408, 425, 429})
_SECOND = 1_000_000
_TOKEN_MARGIN = 60
_LONGEST_WORDS = 500


def path_part(identifier: str) -> str:
    """An id as one segment of a path or one value of a query."""
    return quote(identifier, safe="")


def succeeded(response: ApiResponse, what: str) -> bool:
    """True for a success, False for a lasting no. Raises LookupRefused for what may be cured, a
    page of somebody in between or half an answer among it.
    """
    if 200 <= response.status < 300:
        if not _is_json(response.body):
            raise LookupRefused(response, f"{what}, without JSON,")
        return True
    if 400 <= response.status < 500 and response.status not in CURABLE:
        return False
    raise LookupRefused(response, what)


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def together(bodies: Mapping[str, bytes]) -> bytes:
    """Several JSON bodies as one JSON object, each verbatim under its name."""
    return (
        b"{" + b",".join(b'"%s":%s' % (name.encode(), body) for name, body in bodies.items()) + b"}"
    )


def words(body: bytes) -> str:
    """What an error says: `{"errors": [{"error", "description"}]}`, one such object, a `message`,
    or whatever it is.
    """
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return body[:_LONGEST_WORDS].decode(errors="replace")
    errors = told.get("errors", [told]) if isinstance(told, dict) else [told]
    said = "; ".join(_one(error) for error in errors) if isinstance(errors, list) else str(errors)
    return said[:_LONGEST_WORDS]


def _one(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    return " ".join(
        str(error[name]) for name in ("error", "message", "description") if error.get(name)
    )


class _TokenAnswer(Payload):
    access_token: StrictStr = Field(min_length=1, repr=False)
    expires_in: int = Field(default=0, ge=0)


class Token:
    """A bearer token, asked for when needed, once for all calls that need it then, and kept until a
    minute before it ends; a short one until a quarter before.
    """

    def __init__(self) -> None:
        self._value = ""
        self._until = 0

    def call(
        self, ask_token: ApiRequest, request: ApiRequest, now: int
    ) -> Generator[ApiRequest, ApiResponse, ApiResponse]:
        """The answer to `request` made with a token. A kept one that is refused, because it was
        withdrawn before its end, is replaced at once. Raises LookupRefused.
        """
        while True:
            new = now >= self._until
            if new:
                self._keep((yield replace(ask_token, shared=True)), now)
            used = self._value
            bearer = {"authorization": f"Bearer {used}"}
            response = yield replace(request, headers={**request.headers, **bearer})
            if response.status != 401:
                return response
            # Another call may have replaced it meanwhile.
            if used == self._value:
                self._until = 0
            if new:
                return response

    def _keep(self, response: ApiResponse, now: int) -> None:
        if not 200 <= response.status < 300:
            raise LookupRefused(response, "the token endpoint")
        try:
            answer = _TokenAnswer.model_validate_json(response.body)
        except ValidationError:
            raise LookupRefused(response, "the token endpoint, without a token,") from None
        self._value = answer.access_token
        margin = min(_TOKEN_MARGIN, answer.expires_in // 4)
        self._until = now + (answer.expires_in - margin) * _SECOND
