"""The body of a callback without Content-Encoding and byte order mark, within its limit."""

import gzip
import zlib

import pytest

from connectors.providers import raw
from connectors.providers.content import BadContent, decode, shown
from schemas.limits import DECODED_BYTES

BODY = b'{"id": "1"}'


def raw_deflate(body: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (BODY, None),
        (BODY, ""),
        (BODY, "identity"),
        (gzip.compress(BODY), "gzip"),
        (gzip.compress(BODY), " GZip "),
        (gzip.compress(BODY), "x-gzip"),
        (zlib.compress(BODY), "deflate"),
        (raw_deflate(BODY), "deflate"),
        (b"\xef\xbb\xbf" + BODY, None),
        (gzip.compress(b"\xef\xbb\xbf" + BODY), "gzip"),
    ],
    ids=map(str, range(10)),
)
def test_a4_a5_body_is_decoded(body: bytes, encoding: str | None) -> None:
    headers = {} if encoding is None else {"content-encoding": encoding}
    assert decode(body, headers) == BODY
    assert shown(body, headers) == (BODY if encoding is not None else body)
    assert raw.read("ping", body, headers, "x", 1).body == BODY


BOMB = zlib.compress(b"0" * 60_000_000)


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (BODY, "br", 415),
        (BODY, "gzip, gzip", 415),
        (BODY, "\xff" * 7000, 415),
        (BODY, "gzip", 400),
        (gzip.compress(BODY)[:-1], "gzip", 400),
        (gzip.compress(BODY) + b"more", "gzip", 400),
        (gzip.compress(BODY) * 2, "gzip", 400),
        (b"", "deflate", 400),
        (BOMB, "deflate", 413),
        (gzip.compress(b"0" * (DECODED_BYTES + 1)), "gzip", 413),
    ],
    ids=map(str, range(10)),
)
def test_a4_body_that_cannot_be_decoded_says_why(body: bytes, encoding: str, status: int) -> None:
    headers = {"content-encoding": encoding}
    with pytest.raises(BadContent) as caught:
        decode(body, headers)
    assert caught.value.status == status
    assert len(str(caught.value)) < 300
    assert shown(body, headers) == body


@pytest.mark.parametrize("size", [DECODED_BYTES - 1, DECODED_BYTES])
def test_a4_decoded_size_is_limited(size: int) -> None:
    assert len(decode(gzip.compress(b"0" * size), {"content-encoding": "gzip"})) == size
