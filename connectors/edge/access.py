"""Who may act: anyone on this machine while the server is bound to it; else whoever bears the
token.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from connectors.loopback import is_loopback


def same_secret(given: str, expected: SecretStr) -> bool:
    """Compares in constant time."""
    secret = expected.get_secret_value().encode(errors="surrogateescape")
    return hmac.compare_digest(given.encode(errors="surrogateescape"), secret)


@dataclass(frozen=True, slots=True)
class Access:
    """`local` says that the server is bound to loopback. Header names are lower-case."""

    token: SecretStr | None
    local: bool

    def granted(self, client: str | None, headers: Mapping[str, str]) -> bool:
        """Whether a request from the address `client` may act."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if self.token and scheme.lower() == "bearer" and same_secret(given.strip(), self.token):
            return True
        return self.local and is_loopback(client or "") and _own_page(headers.get("origin"))


def _own_page(origin: str | None) -> bool:
    # A foreign web page open in a browser on this machine could otherwise post in our user's name.
    if origin is None:
        return True
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False
