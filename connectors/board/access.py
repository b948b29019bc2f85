"""Who may read: on loopback everybody on this machine, off it whoever has the token."""

import hashlib
import hmac
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connectors.loopback import is_loopback

COOKIE = "linkstatus_board"
_LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class TokenNeeded(Exception):
    """The board would be readable from other machines by anybody."""


@dataclass(frozen=True, slots=True)
class Access:
    """The rules for a board that listens on `host`. Raises TokenNeeded where they cannot hold."""

    host: str
    token: str | None = None

    def __post_init__(self) -> None:
        if not self.token and not is_loopback(self.host):
            raise TokenNeeded(
                f"the board would listen on {self.host or 'every address'}, off loopback, and "
                "needs a token: set LINKSTATUS_BOARD__TOKEN, or LINKSTATUS_HTTP__HOST to 127.0.0.1"
            )

    def has_token(self, request: Request) -> bool:
        """Whether the request carries the token, or the cookie that stands for it."""
        if not self.token:
            return False
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip(), self.token):
            return True
        return _same(request.cookies.get(COOKIE, ""), self.cookie())

    def is_token(self, given: str) -> bool:
        return bool(self.token) and _same(given, self.token or "")

    def cookie(self) -> str:
        """What the browser keeps: derived from the token, so that it gives nothing else away."""
        key = (self.token or "").encode()
        return hmac.new(key, b"linkstatus board cookie", hashlib.sha256).hexdigest()

    def why_not(self, request: Request) -> HTTPStatus | None:
        """The status to refuse reading with, or None."""
        if self.has_token(request):
            return None
        if not is_loopback(self.host):
            return HTTPStatus.UNAUTHORIZED
        # A page of another site can point its own name at 127.0.0.1 and read us as its own.
        named = _host_name(request.headers.get("host", ""))
        return None if named in _LOCAL_NAMES else HTTPStatus.MISDIRECTED_REQUEST


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _host_name(host_header: str) -> str | None:
    try:
        return urlsplit(f"//{host_header}").hostname
    except ValueError:
        return None


class SecurityHeaders:
    """Puts the security headers on every answer of an app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class Guard:
    """Lets through whom the rules allow, and turns `/?token=…` into a cookie."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._secured = SecurityHeaders(self._judge)
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._secured(scope, receive, send)

    async def _judge(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        given = request.query_params.get("token") if request.url.path == "/" else None
        if given is not None:
            answer: Any = self._log_in(request, given)
        elif status := self._access.why_not(request):
            answer = _refusal(status)
        else:
            answer = self._app
        await answer(scope, receive, send)

    def _log_in(self, request: Request, given: str) -> Response:
        if not self._access.is_token(given):
            return _refusal(HTTPStatus.UNAUTHORIZED)
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            COOKIE,
            self._access.cookie(),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer


def _refusal(status: HTTPStatus) -> Response:
    if status == HTTPStatus.MISDIRECTED_REQUEST:
        return JSONResponse({"error": "this board answers to 127.0.0.1 and localhost"}, status)
    return JSONResponse(
        {"error": "a token is needed: Authorization: Bearer …, or open /?token=… in a browser"},
        status,
        {"WWW-Authenticate": "Bearer"},
    )
