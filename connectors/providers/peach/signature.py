"""Peach's two signatures. Each is an HMAC-SHA256 in hex with one of the webhook secrets."""

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import SplitResult, urlsplit, urlunsplit

from connectors.providers.base import Inbound, Unreadable
from connectors.providers.peach import checkout

HEADERS = ("x-webhook-timestamp", "x-webhook-id", "x-webhook-signature")
_DEFAULT_PORTS = {"https": 443, "http": 80}


def in_header(inbound: Inbound, url: str, secrets: Sequence[str]) -> bool:
    """Return whether the headers sign the callback, for the configured `url` or the called one. The
    formats of algorithm and time are not documented.
    """
    timestamp, webhook_id, received = (inbound.headers.get(name, "") for name in HEADERS)
    expected = (
        _hmac(secret, f"{timestamp}.{webhook_id}.{signed}.".encode(errors="replace") + inbound.body)
        for signed in _signed_urls(inbound, url)
        for secret in secrets
    )
    return bool(received) and _is_one_of(received, expected)


def _signed_urls(inbound: Inbound, url: str) -> Iterator[str]:
    """Yield the URLs that the signature may cover: Peach signs the URL as the merchant wrote it, so
    that the others are rarely needed.

    The path is the configured one, because a proxy can change it, or the called one, because a link
    can have its own `notificationUrl`. The host is always the configured one, in its different
    spellings.
    """
    yield url
    configured = urlsplit(url)
    paths = {
        (configured.path, configured.query),
        (inbound.path, inbound.query),
        (inbound.path, ""),
    }
    others = {
        urlunsplit((configured.scheme, host, path, query, ""))
        for host in _spellings(configured, inbound.headers.get("host", ""))
        for path, query in paths
    }
    yield from others - {url}


def _spellings(configured: SplitResult, called_host: str) -> set[str]:
    """Return the configured host as written, in lower case, and as called, each with and without
    the default port.
    """
    port = f":{_DEFAULT_PORTS.get(configured.scheme, '')}"
    written, called = configured.netloc.removesuffix(port), called_host.removesuffix(port)
    hosts = {written, written.lower()}
    if called.lower() == written.lower():
        hosts.add(called)
    return hosts | {host + port for host in hosts}


def in_body(inbound: Inbound, secrets: Sequence[str]) -> bool:
    """Return whether the body is a Checkout event with its own, correct signature."""
    if not checkout.is_form(inbound.content, inbound.headers.get("content-type", "")):
        return False
    try:
        form = checkout.form_fields(inbound.content)
    except Unreadable:
        return False
    return _is_one_of(form.get("signature", ""), [of_form(form, secret) for secret in secrets])


def of_form(form: Mapping[str, str], secret: str) -> str:
    """Return the signature of a form: its fields sorted by name, each name before its value."""
    text = "".join(name + form[name] for name in sorted(form) if name != "signature")
    return _hmac(secret, text.encode(errors="replace"))


def _hmac(secret: str, message: bytes) -> str:
    return hmac.digest(secret.encode(), message, "sha256").hex()


def _is_one_of(received: str, expected: Iterable[str]) -> bool:
    # any() may stop early: we hide the content of the secrets, not which secret fits.
    lowered = received.lower().encode(errors="replace")
    return any(hmac.compare_digest(lowered, signature.encode()) for signature in expected)
