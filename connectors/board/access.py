"""Who may read: on loopback everybody on this machine, off it whoever has the token. Acting always
needs the token, and a browser that acts must come from the board's own page.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.requests import Request

from connectors.loopback import is_loopback

COOKIE = "linkstatus_board"
_LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


class TokenNeeded(Exception):
    """The board would be readable from other machines by anybody."""


@dataclass(frozen=True, slots=True)
class Access:
    """The rules for a board that listens on `host`. Raises TokenNeeded where they cannot hold."""

    host: str
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.token and not is_loopback(self.host):
            raise TokenNeeded(
                f"the board would listen on {self.host or 'every address'}, off loopback, and "
                "needs a token: set LINKSTATUS_BOARD__TOKEN, or LINKSTATUS_HTTP__HOST to 127.0.0.1"
            )

    def has_token(self, request: Request) -> bool:
        """Whether the request carries the token, or the cookie that stands for it."""
        return self._bears(request) or self.has_cookie(request)

    def has_cookie(self, request: Request) -> bool:
        return bool(self.token) and _same(request.cookies.get(COOKIE, ""), self.cookie())

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

    def why_not_act(self, request: Request) -> HTTPStatus | None:
        """The status to refuse acting with, or None."""
        if self._bears(request):
            return None  # no other site can make a browser send that header
        if not self.has_cookie(request):
            return HTTPStatus.UNAUTHORIZED
        # Cookies do not know ports: a page of any other server on this machine has ours as well.
        return None if is_own_page(request) else HTTPStatus.FORBIDDEN

    def _bears(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.is_token(given.strip())


def is_own_page(request: Request) -> bool:
    """Whether a browser says that a page of this very origin sent the request. What says nothing
    is no browser that could be trusted with the cookie.
    """
    if site := request.headers.get("sec-fetch-site"):
        return site == "same-origin"
    origin = request.headers.get("origin", "")
    return _authority(origin) == request.headers.get("host", "").lower()


def _authority(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _host_name(host_header: str) -> str | None:
    try:
        return urlsplit(f"//{host_header}").hostname
    except ValueError:
        return None
