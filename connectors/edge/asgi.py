"""The little of HTTP that the edge does itself, on bare ASGI: Starlette's Request would cost a
third of the time.
"""

import re
from collections.abc import Iterable

from starlette.types import Message, Receive, Send

MAX_BODY = 64 << 10
RETRY_AFTER_SECONDS = 5

# W3C Trace Context §3.2.2: version ff and ids of zeros are invalid.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
_TEXT = {
    200: b"",
    401: b"bad or missing signature or token\n",
    404: b"unknown provider\n",
    405: b"callbacks are sent with POST\n",
    413: b"larger than 64 KiB\n",
    503: b"cannot take it now, send it again\n",
}


class TooLarge(Exception):
    """The body is larger than the edge takes."""


class HungUp(Exception):
    """The sender went away before its request was whole."""


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


_ANSWERS = {status: _answer(status, body) for status, body in _TEXT.items()}


async def answer(send: Send, status: int) -> None:
    """One of the edge's fixed answers."""
    start, body = _ANSWERS[status]
    await send(start)
    await send(body)


def header_texts(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Lower-case names and values as text; every byte has its character, so nothing a sender puts
    there fails.
    """
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}


def traceparent(headers: dict[str, str]) -> list[tuple[str, bytes]]:
    """The sender's trace as a record header, if it sent a valid one."""
    value = headers.get("traceparent")
    if value is None or not _TRACEPARENT.fullmatch(value):
        return []
    return [("traceparent", value.encode())]


async def read_body(receive: Receive, headers: dict[str, str]) -> bytes:
    """The whole body. Raises TooLarge as soon as it is known to be, HungUp when it never came."""
    announced = headers.get("content-length", "")
    if announced.isdecimal() and announced.isascii() and int(announced[:18]) > MAX_BODY:
        raise TooLarge
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise HungUp
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > MAX_BODY:
            raise TooLarge
        if not message.get("more_body", False):
            return body
