"""Signing in: a browser trades the token for a cookie."""

from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.board.http.forms import back, fields
from connectors.board.http.negotiation import here, wants_page
from connectors.board.http.refusal import BadInput
from connectors.board.pages.renderer import Renderer
from connectors.http.access import COOKIE, Access, is_own_page
from connectors.http.api import REFUSALS, refusal


class SignIn:
    """The sign-in page, and what a browser without the cookie sees."""

    def __init__(self, access: Access, renderer: Renderer) -> None:
        self._access = access
        self._renderer = renderer

    def routes(self) -> list[Route]:
        """Open to everybody: a person without access signs in here."""
        return [
            Route("/sign-in", self.show),
            Route("/sign-in", self.sign_in, methods=["POST"]),
            Route("/sign-out", self.sign_out, methods=["POST"]),
        ]

    def by_link(self, app: ASGIApp) -> ASGIApp:
        """`app`, where `/?token=…` signs in."""

        async def with_link(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope)
            token = request.query_params.get("token") if request.url.path == "/" else None
            answer = app if token is None else self._trade(request, token)
            await answer(scope, receive, send)

        return with_link

    def refuse(self, request: Request, status: HTTPStatus) -> Response:
        """The answer to a request that the access rules refuse."""
        if not wants_page(request):
            return refusal(status)
        if status == HTTPStatus.UNAUTHORIZED:
            origin = here(request) if request.method == "GET" else None
            return self._page(request, status, origin)
        message = REFUSALS[status]
        return self._renderer.page(request, "refused.html", status, message=message, back="/")

    async def show(self, request: Request) -> Response:
        return self._page(request, HTTPStatus.OK, request.query_params.get("back"))

    async def sign_in(self, request: Request) -> Response:
        # Another site could otherwise sign a browser in, and watch what it does here.
        if not is_own_page(request):
            return refusal(HTTPStatus.FORBIDDEN)
        form = await _fields(request)
        origin = form.get("back")
        if not self._access.is_token(form.get("token", "").strip()):
            return self._page(request, HTTPStatus.UNAUTHORIZED, origin, wrong_token=True)
        return self._with_cookie(request, back(origin))

    async def sign_out(self, request: Request) -> Response:
        """Delete this browser's cookie; other browsers keep theirs."""
        if not is_own_page(request):
            return refusal(HTTPStatus.FORBIDDEN)
        form = await _fields(request)
        answer = RedirectResponse(back(form.get("back")), HTTPStatus.SEE_OTHER)
        answer.delete_cookie(COOKIE, **_cookie_options(request))
        return answer

    def _trade(self, request: Request, token: str) -> Response:
        if not self._access.is_token(token):
            return self.refuse(request, HTTPStatus.UNAUTHORIZED)
        return self._with_cookie(request, "/")

    def _with_cookie(self, request: Request, target: str) -> Response:
        answer = RedirectResponse(target, HTTPStatus.SEE_OTHER)
        answer.set_cookie(COOKIE, self._access.cookie(), **_cookie_options(request))
        return answer

    def _page(
        self, request: Request, status: HTTPStatus, origin: str | None, *, wrong_token: bool = False
    ) -> Response:
        """The sign-in page; it leads back to `origin`."""
        shown = {
            "wrong_token": wrong_token,
            "back": back(origin),
            "has_token": bool(self._access.token),
        }
        return self._renderer.page(request, "sign_in.html", status, **shown)


async def _fields(request: Request) -> dict[str, str]:
    try:
        return await fields(request)
    except BadInput:
        return {}


def _cookie_options(request: Request) -> dict[str, Any]:
    """The browser keeps the cookie until it is closed."""
    return {"httponly": True, "samesite": "strict", "secure": request.url.scheme == "https"}
