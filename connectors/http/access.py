"""Who may use the HTTP API and the pages: this machine, and those who have the token."""

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.requests import Request

COOKIE = "linkstatus_board"
_READS = ("GET", "HEAD")
# The only action that needs no token on loopback.
_REGISTRATION = ("POST", "/links")


class TokenNeeded(Exception):
    """Without a token, every other machine could read the board."""


@dataclass(frozen=True, slots=True)
class Access:
    """The access rules of a server that listens on `host`.

    Programs send the token as bearer token, browsers as the cookie from the sign-in page. Without
    it, this machine may read and register links, if the server listens on loopback only.
    """

    host: str
    token: SecretStr | None = None

    def refusal(self, request: Request) -> HTTPStatus | None:
        """The status to refuse the request with, or None."""
        if self._has_bearer_token(request):
            return None  # no other site can make a browser send that header
        is_read = request.method in _READS
        if self.has_cookie(request):
            # Cookies do not know ports: pages of other servers on this machine send ours, too.
            return None if is_read or is_own_page(request) else HTTPStatus.FORBIDDEN
        if is_read or (request.method, request.url.path) == _REGISTRATION:
            return self._local_refusal(request)
        return HTTPStatus.UNAUTHORIZED

    def _local_refusal(self, request: Request) -> HTTPStatus | None:
        client = request.client.host if request.client else ""
        if not (is_loopback(self.host) and is_loopback(client)):
            return HTTPStatus.UNAUTHORIZED
        # DNS rebinding: a page of another site can point its own name at 127.0.0.1.
        if not is_loopback(_host_name(f"//{request.headers.get('host', '')}")):
            return HTTPStatus.MISDIRECTED_REQUEST
        origin = request.headers.get("origin")
        if origin is not None and not is_loopback(_host_name(origin)):
            return HTTPStatus.UNAUTHORIZED
        return None

    def has_cookie(self, request: Request) -> bool:
        """Whether the browser is signed in."""
        given = request.cookies.get(COOKIE, "").encode()
        return bool(self.token) and hmac.compare_digest(given, self.cookie().encode())

    def is_token(self, text: str) -> bool:
        return self.token is not None and same_secret(text, self.token)

    def cookie(self) -> str:
        """The value of the cookie: derived from the token, which it does not reveal."""
        key = _encoded(self.token) if self.token else b""
        return hmac.new(key, b"linkstatus board cookie", hashlib.sha256).hexdigest()

    def require_token(self) -> None:
        """Raise TokenNeeded if the server listens off loopback without a token."""
        if not self.token and not is_loopback(self.host):
            raise TokenNeeded(
                f"the board would listen on {self.host or 'every address'}, off loopback, and "
                "needs a token: set LINKSTATUS_BOARD__TOKEN, or LINKSTATUS_HTTP__HOST to 127.0.0.1"
            )

    def _has_bearer_token(self, request: Request) -> bool:
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.is_token(text.strip())


def is_own_page(request: Request) -> bool:
    """Whether the browser says that a page of this origin sent the request."""
    if site := request.headers.get("sec-fetch-site"):
        return site == "same-origin"
    origin = request.headers.get("origin", "")
    try:
        return urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower() != ""
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether `host`, an address or a name, reaches only this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def same_secret(text: str, secret: SecretStr) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(text.encode(errors="surrogateescape"), _encoded(secret))


def _encoded(secret: SecretStr) -> bytes:
    return secret.get_secret_value().encode(errors="surrogateescape")


def _host_name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
