"""Peach's two proofs of authenticity, each HMAC-SHA256 in hex with one of the webhook secrets."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from connectors.peach import checkout
from connectors.provider import Inbound, Unreadable

HEADERS = ("x-webhook-timestamp", "x-webhook-id", "x-webhook-signature")


def in_header(inbound: Inbound, url: str, secrets: Sequence[str]) -> bool:
    """Whether the headers sign the callback, sent to `url` or to where it came in on the same host,
    as a link's own `notificationUrl` may say. The forms of algorithm and time are undocumented.
    """
    stamp, webhook_id, given = (inbound.headers.get(name, "") for name in HEADERS)
    own = urlsplit(url)._replace(path=inbound.path, query="", fragment="").geturl()
    starts = [f"{stamp}.{webhook_id}.{told}.".encode(errors="replace") for told in (url, own)]
    right = [_hmac(secret, start + inbound.body) for secret in secrets for start in starts]
    return _is_one_of(given, right)


def in_body(inbound: Inbound, secrets: Sequence[str]) -> bool:
    """Whether the body is a Checkout event that signs itself."""
    if not checkout.is_form(inbound.body, inbound.headers.get("content-type", "")):
        return False
    try:
        form = checkout.fields(inbound.body)
    except Unreadable:
        return False
    return _is_one_of(form.get("signature", ""), [of_form(form, secret) for secret in secrets])


def of_form(form: Mapping[str, str], secret: str) -> str:
    """The signature of a form: its parameters sorted by name, each name followed by its value."""
    text = "".join(name + form[name] for name in sorted(form) if name != "signature")
    return _hmac(secret, text.encode(errors="replace"))


def _hmac(secret: str, message: bytes) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def _is_one_of(given: str, right: Sequence[str]) -> bool:
    # any() may stop early: which secret fits is no secret, only what it is.
    lowered = given.lower().encode(errors="replace")
    return any(hmac.compare_digest(lowered, known.encode()) for known in right)
