"""One address has a page for browsers and JSON for programs."""

from collections.abc import Sequence
from urllib.parse import quote

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send


def wants_page(request: Request) -> bool:
    """Whether a browser asks for a page."""
    return "text/html" in request.headers.get("accept", "")


def here(request: Request) -> str:
    """The address of the request, to come back to."""
    path, query = quote(request.scope["path"]), request.url.query
    return f"{path}?{query}" if query else path


class ByAccept:
    """Sends browsers to `pages` and programs to `api`. Some paths are on one side only."""

    def __init__(
        self, pages: ASGIApp, api: ASGIApp, only_pages: Sequence[str], only_api: Sequence[str]
    ) -> None:
        self._pages = pages
        self._api = api
        self._only_pages = tuple(only_pages)
        self._only_api = tuple(only_api)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        is_page = wants_page(Request(scope)) and not path.startswith(self._only_api)
        if is_page or path.startswith(self._only_pages):
            await self._pages(scope, receive, send)
        elif scope["method"] == "HEAD":
            # The server leaves the body out.
            await self._api({**scope, "method": "GET"}, receive, send)
        else:
            await self._api(scope, receive, send)
