"""HTTP on bare ASGI, for callbacks: Starlette's Request would cost a third of the time."""

import re
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2s
from ipaddress import IPv6Address, IPv6Network

from starlette.types import Message, Receive, Send

from connectors.providers.content import BadContent
from schemas.limits import BODY_BYTES, RETRY_AFTER_SECONDS

# W3C Trace Context §3.2.2: version ff and ids of zeros are invalid.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
TEXTS = {
    200: b"",
    400: b"the body is empty, not whole, or not in its content-encoding; send it again\n",
    401: b"bad or missing signature or token\n",
    404: b"unknown provider\n",
    405: b"callbacks are sent with POST\n",
    413: b"larger than 64 KiB\n",
    415: b"cannot decode this encoding; send gzip, deflate or none\n",
    431: b"the headers are larger than 8 KiB; send fewer\n",
    503: b"cannot take it now, send it again\n",
}


class HungUp(Exception):
    """The sender closed the connection before its request was complete."""


def _answer(status: int, body: bytes) -> tuple[Message, Message]:
    headers = [(b"content-length", str(len(body)).encode())]
    if body:
        headers.append((b"content-type", b"text/plain; charset=utf-8"))
    if status == 405:
        headers.append((b"allow", b"POST"))
    if status == 503:
        headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
    start: Message = {"type": "http.response.start", "status": status, "headers": headers}
    return start, {"type": "http.response.body", "body": body}


_ANSWERS = {status: _answer(status, body) for status, body in TEXTS.items()}


async def answer(send: Send, status: int) -> None:
    """Send the answer of this status."""
    start, body = _ANSWERS[status]
    await send(start)
    await send(body)


def header_texts(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return lower-case names and values. Latin-1 has a character for every byte, so that no header
    fails. The values of a repeated name are one list (RFC 9110 §5.3): none hides another.

    The parser leaves blanks at the end of a value that two packets bring. They are no part of it
    (RFC 9110 §5.5), and a signature with them would not fit.
    """
    texts: dict[str, str] = {}
    for name_bytes, value_bytes in raw:
        name, value = name_bytes.decode("latin-1"), value_bytes.decode("latin-1").rstrip(" \t")
        texts[name] = f"{texts[name]}, {value}" if name in texts else value
    return texts


def sender(key: bytes, client: tuple[str, int] | None) -> str:
    """Return a keyed hash of the client's address. A client has all addresses of its IPv6 network
    (/64), so these are one.
    """
    host = client[0] if client else ""
    with suppress(ValueError):
        address = IPv6Address(host)
        host = str(address.ipv4_mapped or IPv6Network((int(address), 64), strict=False))
    return blake2s(host.encode(), key=key, digest_size=8).hexdigest()


def traceparent(headers: dict[str, str]) -> list[tuple[str, bytes]]:
    """Return the sender's trace as a record header, if it is valid."""
    value = headers.get("traceparent")
    if value is None or not _TRACEPARENT.fullmatch(value):
        return []
    return [("traceparent", value.encode())]


async def read_body(receive: Receive, headers: dict[str, str]) -> bytes:
    """Return the body: all that was announced, and not empty. Raises BadContent, as soon as the
    size is known if it is too large, and HungUp.
    """
    announced = headers.get("content-length", "")
    if announced.isdecimal() and announced.isascii() and int(announced[:18]) > BODY_BYTES:
        raise _too_large()
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise HungUp
        body += message.get("body", b"")
        if len(body) > BODY_BYTES:
            raise _too_large()
        more = message.get("more_body", False)
    if not body or announced not in ("", str(len(body))):
        raise BadContent(400, "empty, or not whole")
    return body


def _too_large() -> BadContent:
    return BadContent(413, f"larger than {BODY_BYTES} bytes")
