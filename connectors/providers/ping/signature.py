"""Ping's optional callback signature.

"Authentication" says only that a registered key signs the payload with a hash. It does not name the
header, the algorithm or the encoding, so the settings do. A new scheme is one line in SCHEMES.
"""

import base64
import hmac
from collections.abc import Callable, Mapping, Sequence

from connectors.providers.base import Inbound

# Returns the signature of a body by a key, as the header contains it.
Scheme = Callable[[bytes, bytes], str]


def _hex(algorithm: str) -> Scheme:
    return lambda key, body: hmac.new(key, body, algorithm).hexdigest()


def _base64(algorithm: str) -> Scheme:
    return lambda key, body: base64.b64encode(hmac.digest(key, body, algorithm)).decode()


SCHEMES: Mapping[str, Scheme] = {
    "hmac-sha256-hex": _hex("sha256"),
    "hmac-sha256-base64": _base64("sha256"),
    "hmac-sha512-hex": _hex("sha512"),
    "hmac-sha512-base64": _base64("sha512"),
}


def fits(inbound: Inbound, scheme: str, header: str, keys: Sequence[str]) -> bool:
    """Return whether one of the keys signed the body."""
    received = inbound.headers.get(header.lower(), "").encode(errors="replace")
    sign = SCHEMES[scheme]
    expected = [sign(key.encode(), inbound.body).encode() for key in keys]
    # any() may stop early: we hide the content of the keys, not which key fits.
    return any(hmac.compare_digest(received, signature) for signature in expected)
