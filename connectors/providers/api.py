"""What the API clients share: which responses count, error texts, OAuth tokens. No I/O."""

import codecs
import contextlib
import json
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import AfterValidator, Field, StrictStr, StringConstraints, ValidationError

from connectors.providers.base import ApiRequest, ApiResponse, RetryableApiError
from connectors.providers.payload import Payload, json_value

# The base URL of an API, without the slash at its end.
Url = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[^\s/]\S*$", max_length=500),
    AfterValidator(lambda url: url.rstrip("/")),
]

# A later retry may fix these: no token or an old one, a timeout, too many requests.
RETRYABLE = frozenset({401, 403, 408, 425, 429})
_SECOND = 1_000_000
_TOKEN_MARGIN = 60
_MAX_ERROR_TEXT = 500


def path_part(identifier: str) -> str:
    """Return an id escaped as one path segment or one query value."""
    return quote(identifier, safe="")


def document_of(response: ApiResponse, what: str) -> Any:
    """Return the JSON of a success, or None for a permanent error.

    Raises RetryableApiError for anything else, also for a success without JSON: a proxy's page.
    """
    if 200 <= response.status < 300:
        with contextlib.suppress(ValueError):
            if (document := json_value(response.body)) is not None:
                return document
        raise RetryableApiError(response, f"{what}, without JSON,")
    if 400 <= response.status < 500 and response.status not in RETRYABLE:
        return None
    raise RetryableApiError(response, what)


def is_page(response: ApiResponse) -> bool:
    """Return whether the answer is a web page: a proxy's, in the place of the provider's answer."""
    kind = next((v for k, v in response.headers.items() if k.lower() == "content-type"), "")
    return "html" in kind.lower() or response.body.lstrip()[:1] == b"<"


def combined(bodies: Mapping[str, bytes]) -> bytes:
    """Return several JSON bodies as one object, each verbatim under its name."""
    parts = (
        b'"%s":%s' % (name.encode(), body.removeprefix(codecs.BOM_UTF8))
        for name, body in bodies.items()
    )
    return b"{%s}" % b",".join(parts)


def error_text(body: bytes) -> str:
    """Return the text of `{"errors": [{"error", "description"}]}`, of one such object, or of a
    `message`; else the body itself.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body[:_MAX_ERROR_TEXT].decode(errors="replace")
    errors = document.get("errors", [document]) if isinstance(document, dict) else [document]
    text = "; ".join(map(_one_error, errors)) if isinstance(errors, list) else str(errors)
    return text[:_MAX_ERROR_TEXT]


def _one_error(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    return " ".join(
        str(error[name]) for name in ("error", "message", "description") if error.get(name)
    )


class _TokenResponse(Payload):
    access_token: StrictStr = Field(min_length=1, repr=False)
    expires_in: int = Field(default=0, ge=0)


class Token:
    """A bearer token that all calls share, until a minute before it expires, or until three
    quarters of a short lifetime have passed.
    """

    def __init__(self) -> None:
        self._value = ""
        self._valid_until = 0

    def call(
        self, token_request: ApiRequest, request: ApiRequest, now: int
    ) -> Generator[ApiRequest, ApiResponse, ApiResponse]:
        """Return the response to `request`, sent with a token. A cached token that the API rejects,
        because it was revoked, is replaced at once. Raises RetryableApiError.
        """
        while True:
            is_new = now >= self._valid_until
            if is_new:
                self._store((yield replace(token_request, shared=True)), now)
            used = self._value
            bearer = {"authorization": f"Bearer {used}"}
            response = yield replace(request, headers={**request.headers, **bearer})
            if response.status != 401:
                return response
            # A concurrent call may have replaced the token in the meantime.
            if used == self._value:
                self._valid_until = 0
            if is_new:
                return response

    def _store(self, response: ApiResponse, now: int) -> None:
        if not 200 <= response.status < 300:
            raise RetryableApiError(response, "the token endpoint")
        try:
            token = _TokenResponse.model_validate_json(response.body)
        except ValidationError:
            raise RetryableApiError(response, "the token endpoint, without a token,") from None
        self._value = token.access_token
        margin = min(_TOKEN_MARGIN, token.expires_in // 4)
        self._valid_until = now + (token.expires_in - margin) * _SECOND
