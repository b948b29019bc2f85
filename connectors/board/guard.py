"""The rules of access as middleware, the way in for a browser, and what every answer carries."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connectors.board.access import COOKIE, Access, is_own_page
from connectors.board.forms import BadForm, back, fields
from connectors.board.pages import Pages, here, wants_page

Endpoint = Callable[[Request], Awaitable[Response]]

# What the page for signing in looks like says nothing of anybody.
_OPEN = frozenset({"/static/board.css", "/static/icon.svg"})
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # A form of ours must say where it comes from; to others nothing is said.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


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

    def __init__(self, app: ASGIApp, access: Access, pages: Pages) -> None:
        self._app = app
        self._access = access
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        if request.url.path in _OPEN:
            return await self._app(scope, receive, send)
        given = request.query_params.get("token") if request.url.path == "/" else None
        if given is not None:
            answer: ASGIApp = self._signed_in(request, given)
        elif status := self._why_not(request):
            answer = self._refusal(request, status)
        else:
            answer = self._app
        return await answer(scope, receive, send)

    def _why_not(self, request: Request) -> HTTPStatus | None:
        if request.method in ("GET", "HEAD"):
            return self._access.why_not(request)
        return self._access.why_not_act(request)

    def _signed_in(self, request: Request, given: str) -> Response:
        if not self._access.is_token(given):
            return self._refusal(request, HTTPStatus.UNAUTHORIZED)
        return _with_cookie(RedirectResponse("/", HTTPStatus.SEE_OTHER), request, self._access)

    def _refusal(self, request: Request, status: HTTPStatus) -> Response:
        if not wants_page(request):
            return _refusal(status)
        if status == HTTPStatus.UNAUTHORIZED:
            asked = here(request) if request.method == "GET" else None
            return _sign_in_page(self._pages, request, self._access, status, asked)
        said = _SAID[status]
        return self._pages.answer(request, "refused.html", status, said=said, back="/")


def sign_in(access: Access, pages: Pages) -> Endpoint:
    """`GET` and `POST /sign-in`: the token for a cookie. Open to those who may not read."""

    async def endpoint(request: Request) -> Response:
        if request.method != "POST":
            asked = request.query_params.get("back")
            return _sign_in_page(pages, request, access, HTTPStatus.OK, asked)
        # Else another site could sign a browser in, to watch what it does here.
        if not is_own_page(request):
            return _refusal(HTTPStatus.FORBIDDEN)
        given = await _given(request)
        asked = given.get("back")
        if not access.is_token(given.get("token", "").strip()):
            status = HTTPStatus.UNAUTHORIZED
            return _sign_in_page(pages, request, access, status, asked, wrong=True)
        return _with_cookie(RedirectResponse(back(asked), HTTPStatus.SEE_OTHER), request, access)

    return endpoint


async def sign_out(request: Request) -> Response:
    """`POST /sign-out`: this browser has the token's cookie no more; others keep theirs."""
    if not is_own_page(request):
        return _refusal(HTTPStatus.FORBIDDEN)
    given = await _given(request)
    answer = RedirectResponse(back(given.get("back")), HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, **_kept(request))
    return answer


async def _given(request: Request) -> dict[str, str]:
    """The form's fields; what is no form of ours says nothing."""
    try:
        return await fields(request)
    except BadForm:
        return {}


def _sign_in_page(
    pages: Pages,
    request: Request,
    access: Access,
    status: HTTPStatus,
    asked: str | None,
    *,
    wrong: bool = False,
) -> Response:
    """`asked` is where to go on afterwards."""
    shown = {"wrong": wrong, "back": back(asked), "has_token": bool(access.token)}
    return pages.answer(request, "sign_in.html", status, **shown)


def _with_cookie(answer: Response, request: Request, access: Access) -> Response:
    answer.set_cookie(COOKIE, access.cookie(), **_kept(request))
    return answer


def _kept(request: Request) -> dict[str, Any]:
    """How a browser keeps the cookie: until it is closed."""
    return {"httponly": True, "samesite": "strict", "secure": request.url.scheme == "https"}


_SAID: dict[HTTPStatus, str] = {
    HTTPStatus.MISDIRECTED_REQUEST: "this board answers to 127.0.0.1 and localhost",
    HTTPStatus.FORBIDDEN: "this did not come from a page of this board",
    HTTPStatus.UNAUTHORIZED: (
        "a token is needed: Authorization: Bearer …, or open /?token=… in a browser"
    ),
}


def _refusal(status: HTTPStatus) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return JSONResponse({"error": _SAID[status]}, status, headers)
