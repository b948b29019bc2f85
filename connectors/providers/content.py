"""The content of a callback: its body without Content-Encoding and byte order mark.

The edge stores the body as sent, with the header `content-encoding`: signatures cover these bytes,
and a replay publishes them again. So each reader decodes them here: the edge for the record's key,
`normalize` for the facts, the board for its pages.
"""

import codecs
import zlib
from collections.abc import Mapping

from schemas.limits import DECODED_BYTES

HEADER = "content-encoding"
# zlib finds out by itself whether the format is gzip or zlib.
_GZIP_OR_ZLIB, _RAW_DEFLATE = 47, -15
_WINDOWS = {
    "gzip": (_GZIP_OR_ZLIB,),
    "x-gzip": (_GZIP_OR_ZLIB,),
    # RFC 9110 §8.4.1.2 means the zlib format; some senders leave its frame out.
    "deflate": (_GZIP_OR_ZLIB, _RAW_DEFLATE),
}


class BadContent(ValueError):
    """The body cannot be decoded. `status` is the HTTP status that says so to the sender."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def decode(body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return the content of a body that has these headers. Raises BadContent."""
    encoding = headers.get(HEADER, "").strip().lower()
    if encoding not in ("", "identity"):
        body = _decompress(body, encoding)
    # RFC 8259 §8.1 lets a reader of JSON ignore it.
    return body.removeprefix(codecs.BOM_UTF8)


def shown(body: bytes | None, headers: Mapping[str, object]) -> bytes | None:
    """Return the content for people to read; the body as it is if it cannot be decoded."""
    encoding = headers.get(HEADER)
    if body is None or not isinstance(encoding, str):
        return body
    try:
        return decode(body, {HEADER: encoding})
    except BadContent:
        return body


def _decompress(body: bytes, encoding: str) -> bytes:
    windows = _WINDOWS.get(encoding)
    if windows is None:
        raise BadContent(
            415, f"content-encoding {encoding[:50]!r} is not supported; send gzip, deflate or none"
        )
    for window in windows:
        decompressor = zlib.decompressobj(window)
        try:
            content = decompressor.decompress(body, DECODED_BYTES + 1)
        except zlib.error:
            continue
        if len(content) > DECODED_BYTES:
            raise BadContent(413, f"larger than {DECODED_BYTES} bytes without its {encoding}")
        if decompressor.eof and not decompressor.unused_data:
            return content
    raise BadContent(400, f"the body is not whole and valid {encoding}; send it again")
