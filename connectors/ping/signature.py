"""Ping's optional callback signature, behind one seam.

"Authentication" says that a registered key signs the payload by a hash, and no more: neither the
header nor the algorithm nor the encoding. So which of these it is, is a setting; another scheme is
another line in SCHEMES.
"""

import base64
import hmac
from collections.abc import Callable, Mapping, Sequence

from connectors.provider import BadSignature, Inbound

# The signature of a body by a key, as it stands in the header.
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


def verify(inbound: Inbound, scheme: str, header: str, keys: Sequence[str]) -> None:
    """Raises BadSignature unless one of the keys signed the body."""
    given = inbound.headers.get(header.lower(), "").encode(errors="replace")
    sign = SCHEMES[scheme]
    right = [sign(key.encode(), inbound.body).encode() for key in keys]
    # any() may stop early: which key fits is no secret, only what it is.
    if not any(hmac.compare_digest(given, known) for known in right):
        raise BadSignature(f"{header} is missing or wrong")
