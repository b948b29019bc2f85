"""The callback URL: what is taken, what is refused, and what a sender cannot break."""

import asyncio
import gzip
import hmac
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from connectors.providers.ping import Ping, PingConfig
from connectors.receive.asgi import sender
from connectors.receive.process import Edge, application
from schemas.limits import BODY_BYTES, CALLBACK_RECORD_BYTES, HEAD_BYTES
from tests.support.edge import TRACE, an_edge
from tests.support.fakes import FakePublisher
from tests.support.waiting import PATIENCE
from tests.support.wire import listening


async def send(
    shelf: FakePublisher,
    path: str = "acme",
    headers: Mapping[str, Any] | None = None,
    content: Any = b"link-1",
    method: str = "POST",
    edge: Edge | None = None,
) -> httpx.Response:
    """Send a callback, on a server without limits. A tuple repeats its header."""
    transport = httpx.ASGITransport(application(edge or an_edge(shelf), []))
    encoded = [
        (name.encode(), value)
        for name, values in (headers or {}).items()
        for value in (values if isinstance(values, tuple) else (values,))
    ]
    async with httpx.AsyncClient(transport=transport, base_url="http://edge/callbacks/") as client:
        return await client.request(method, path, content=content, headers=encoded)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("unix", "", False),
    ],
)
def test_d3_sender_is_a_keyed_hash_of_the_clients_network(one: str, other: str, same: bool) -> None:
    assert (sender(b"key", (one, 1)) == sender(b"key", (other, 2))) is same
    assert sender(b"key", (one, 1)) != sender(b"other key", (one, 1))


async def test_d3_claim_names_its_sender_and_a_proven_callback_does_not() -> None:
    shelf = FakePublisher()
    app = application(an_edge(shelf), [])
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        transport = httpx.ASGITransport(app, client=(address, 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
            await client.post("/callbacks/acme", content=b"1")
            await client.post("/callbacks/acme", content=b"1", headers={"x-acme-key": "new"})
    senders = [record.headers.get("sender") for record in shelf.records]
    first, proven, second, _, third, _ = senders
    assert proven is None
    assert first is not None
    assert first == third != second
    assert b"192" not in first


async def test_callback_is_stored_as_received_and_the_answer_is_an_empty_200() -> None:
    shelf = FakePublisher()
    headers = {"content-type": b"application/json", "traceparent": TRACE.encode(), "x-other": b"no"}
    answer = await send(shelf, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
    (record,) = shelf.records
    assert (record.topic, record.key, record.value) == ("callbacks.acme", b"acme:link-1", b"link-1")
    assert len(record.headers.pop("callback-id")) == 32
    assert record.headers.pop("received-at").isdigit()
    assert len(record.headers.pop("sender")) == 16
    assert record.headers == {
        "provider": b"acme",
        "source": b"callback",
        "verified": b"0",
        "content-type": b"application/json",
        "traceparent": TRACE.encode(),
    }


async def test_signed_callback_is_verified_and_its_signature_kept() -> None:
    shelf = FakePublisher()
    assert (await send(shelf, headers={"x-acme-key": b"old"})).status_code == 200
    assert shelf.records[0].headers["verified"] == b"1"
    assert shelf.records[0].headers["x-acme-key"] == b"old"


async def test_unknown_signature_is_kept_with_the_body() -> None:
    """Ping's scheme is not documented; once it is known, old callbacks can be verified."""
    shelf = FakePublisher()
    await send(shelf, headers={"X-Ping-Signature": b"t=1,v1=\xe9", "X-Callback-Id": b"7"})
    (record,) = shelf.records
    assert record.headers["x-ping-signature"] == b"t=1,v1=\xe9"
    assert (record.headers["verified"], "x-callback-id" in record.headers) == (b"0", False)


async def test_d7_guessed_signature_that_does_not_fit_is_a_claim_until_one_fits() -> None:
    def counted() -> list[float]:
        labels = [{"provider": "ping", "outcome": outcome} for outcome in ("fits", "misfits")]
        name = "linkstatus_signatures_on_trial_total"
        return [REGISTRY.get_sample_value(name, one) or 0.0 for one in labels]

    settings = {"signature_scheme": "hmac-sha256-hex", "signature_header": "X-Sign"}
    ping = Ping(PingConfig.model_validate({**settings, "signing_keys": ["key"]}))
    shelf, before = FakePublisher(), counted()
    edge = replace(an_edge(shelf), providers={"ping": ping})
    fitting = hmac.new(b"key", b"{}", "sha256").hexdigest().encode()
    signatures = [b"00", fitting, fitting, b"00"]
    answers = [await send(shelf, "ping", {"x-sign": one}, b"{}", edge=edge) for one in signatures]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 401]
    assert [record.headers["verified"] for record in shelf.records] == [b"0"] * 3
    assert [record.headers["x-sign"] for record in shelf.records] == signatures[:3]
    assert counted() == [before[0] + 1, before[1] + 1]


KEY = "x-acme-key"
ZEROS = b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01"
# The path, a header, the body, and the status of the answer.
CALLBACKS: dict[str, tuple[str, tuple[str, bytes] | None, bytes, int]] = {
    "any path": ("acme/order/7", None, b"1", 200),
    "slash at the end": ("acme/", None, b"1", 200),
    "path token": ("safe/s3cret", None, b"1", 200),
    "no path token": ("safe", None, b"1", 401),
    "empty path token": ("safe/", None, b"1", 401),
    "wrong path token": ("safe/wrong", None, b"1", 401),
    "path token behind another": ("safe/wrong/s3cret", None, b"1", 401),
    "path token with a slash": ("safe/s3cret/", None, b"1", 401),
    "path token that is not text": ("safe/%FF%00", None, b"1", 401),
    "path token that is not ASCII": ("safe/%E2%82%AC", None, b"1", 401),
    "unknown provider": ("other", None, b"1", 404),
    "no provider": ("", None, b"1", 404),
    "bad signature": ("acme", (KEY, b"forged"), b"1", 401),
    "key that a fetch brings": ("acme", (KEY, b"new"), b"1", 200),
    "key that no fetch brings": ("acme", (KEY, b"never"), b"1", 401),
    "keys away": ("acme", (KEY, b"away"), b"1", 503),
    "signature that breaks the check": ("acme", (KEY, b"crash"), b"1", 401),
    "signature that is not text": ("acme", (KEY, b"\xff\xfe"), b"1", 401),
    "signature of 70 KB": ("acme", (KEY, b"x" * 70_000), b"1", 431),
    "unknown signature of 70 KB": ("acme", ("x-signature", b"x" * 70_000), b"1", 431),
    "odd content type": ("acme", ("content-type", b"\xe2\x82\xac; charset=\xff"), b"1", 200),
    "length that is no number": ("acme", ("content-length", b"many"), b"1", 400),
    "length that is not ASCII": ("acme", ("content-length", b"\xb2"), b"1", 400),
    "length of 5,000 digits": ("acme", ("content-length", b"9" * 5_000), b"1", 413),
    "trace that is not text": ("acme", ("traceparent", b"\x00\xff"), b"1", 200),
    "trace in upper case": ("acme", ("traceparent", TRACE.upper().encode()), b"1", 200),
    "trace of zeros": ("acme", ("traceparent", ZEROS), b"1", 200),
    "body that breaks the key": ("acme", None, b"broken", 200),
    "key that is not text": ("acme", None, b"odd", 200),
    "body that is not text": ("acme", None, b"\xff\x00", 200),
    "body of brackets": ("acme", None, b"{" * 60_000, 200),
    "body at the limit": ("acme", None, b"x" * BODY_BYTES, 200),
    "body above the limit": ("acme", None, b"x" * (BODY_BYTES + 1), 413),
    "empty body": ("acme", None, b"", 400),
}


@pytest.mark.parametrize("name", CALLBACKS)
async def test_callback_is_stored_whole_or_refused(name: str) -> None:
    path, header, body, status = CALLBACKS[name]
    shelf = FakePublisher()
    answer = await send(shelf, path, dict([header] if header else ()), body)
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == ("5" if status == 503 else None)
    assert [record.value for record in shelf.records] == ([body] if status == 200 else [])
    assert not any("traceparent" in record.headers for record in shelf.records)


async def test_callback_that_kafka_cannot_take_is_503() -> None:
    answer = await send(FakePublisher(open=False))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_other_methods_are_405(method: str) -> None:
    shelf = FakePublisher()
    answer = await send(shelf, method=method)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert not shelf.records


async def test_body_of_unknown_length_is_read_up_to_the_limit() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 10_000

    assert (await send(FakePublisher(), content=endless())).status_code == 413
    assert read < 10


@pytest.mark.parametrize(
    ("sent", "encoding", "status"),
    [
        (gzip.compress(b"link-1"), "gzip", 200),
        (zlib.compress(b"link-1"), "deflate", 200),
        (b"\xef\xbb\xbflink-1", "", 200),
        (b"link-1", "identity", 200),
        (b"link-1", "br", 415),
        (b"link-1", "gzip", 400),
        (gzip.compress(b"link-1".ljust(BODY_BYTES)), "gzip", 200),
        (gzip.compress(b"link-1".ljust(BODY_BYTES + 1)), "gzip", 413),
    ],
    ids=map(str, range(8)),
)
async def test_a4_a5_body_is_stored_as_sent(sent: bytes, encoding: str, status: int) -> None:
    """The signature and a replay need the bytes as sent, so they are stored with the encoding."""
    shelf = FakePublisher()
    headers = {"content-encoding": encoding.encode()} if encoding else {}
    assert (await send(shelf, headers=headers, content=sent)).status_code == status
    stored = [(r.value, r.headers.get("content-encoding", b"").decode()) for r in shelf.records]
    assert stored == ([(sent, encoding)] if status == 200 else [])
    assert all((r.key or b"").startswith(b"acme:link-1") for r in shelf.records)


@pytest.mark.parametrize("encodings", [(b"gzip", b"identity"), (b"identity", b"gzip")])
async def test_a4_no_encoding_hides_another(encodings: tuple[bytes, ...]) -> None:
    """A repeated header is one list (RFC 9110 §5.3)."""
    shelf = FakePublisher()
    headers = {"content-encoding": encodings}
    answer = await send(shelf, headers=headers, content=gzip.compress(b"link-1"))
    assert answer.status_code == 415
    assert not shelf.records


@pytest.mark.parametrize(("over", "status"), [(-1, 200), (0, 200), (1, 431)])
@pytest.mark.parametrize("name", ["content-type", "x-signature", "content-encoding"])
async def test_b1_what_is_stored_beside_the_body_is_bounded_together(
    name: str, over: int, status: int
) -> None:
    others = {"content-type": b"t" * 100, "x-signature": b"", "x-acme-key": b"old"}
    others.pop(name, None)
    named = {**others, name: b""}
    used = sum(len(n) * (n != "content-type") + len(value) for n, value in named.items())
    value = b"identity" if name == "content-encoding" else b"x"
    value = value.rjust(HEAD_BYTES + over - used)
    shelf = FakePublisher()
    assert (await send(shelf, headers={**others, name: value})).status_code == status
    for record in shelf.records:
        size = sum(len(n) + len(v) for n, v in record.headers.items())
        assert size + len(record.value or b"") <= CALLBACK_RECORD_BYTES - BODY_BYTES


WHOLE = b"Content-Length: 1\r\n\r\nx"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
# What only the server and the edge together decide; `tests/connectors/http/test_protocol.py` has
# what the server decides alone.
REQUESTS = {
    "upgrade offer": (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABk\r\n" + WHOLE,
        b"200",
    ),
    "no body": (b"\r\n", b"400"),
    "chunked": (CHUNKED + b"1\r\nx\r\n0\r\n\r\n", b"200"),
    "empty chunks": (CHUNKED + b"0\r\n\r\n", b"400"),
    "coding": (b"Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", b"415"),
    "content type of 2 MB": (b"Content-Type: " + b"a" * 2_096_900 + b"\r\n" + WHOLE, b"431"),
    "header in latin-1": (b"X-Acme-Key: \xff\xe9\r\n" + WHOLE, b"401"),
    "a megabyte": (b"Content-Length: 1000000\r\n\r\n" + b"x" * 1_000_000, b"413"),
    "expecting": (b"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n", b"413"),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_a1_b1_request_on_the_wire_is_kept_or_refused(name: str) -> None:
    rest, status = REQUESTS[name]
    shelf = FakePublisher()
    async with listening(application(an_edge(shelf), [])) as wire:
        connection = await wire.connect()
        start = b"POST /callbacks/acme HTTP/1.1\r\nHost: edge\r\n"
        closing = b"Connection: close\r\n" * (b"Connection" not in rest)
        connection.writer.write(start + closing + rest)
        line = await asyncio.wait_for(connection.reader.readline(), PATIENCE)
    assert line.split()[1] == status
    assert [record.value for record in shelf.records] == [b"x"] * (status == b"200")


async def test_blanks_after_a_header_are_none_of_it_in_a_packet_of_their_own_too() -> None:
    shelf = FakePublisher()
    async with listening(application(an_edge(shelf), [])) as wire:
        for parts in ((b"1 \t",), (b"1", b" \t"), (b"1 ", b"\t")):
            start = b"POST /callbacks/acme HTTP/1.1\r\nhost: e\r\nx-acme-signature: a"
            rest = b"\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx"
            assert await wire.statuses(start, *parts, rest) == [200]
    assert [record.headers["x-acme-signature"] for record in shelf.of("callbacks.acme")] == [
        b"a1"
    ] * 3


async def test_sender_that_hangs_up_stores_nothing() -> None:
    shelf = FakePublisher()
    async with listening(application(an_edge(shelf), [])) as wire:
        request = b"POST /callbacks/acme HTTP/1.1\r\nHost: edge\r\nContent-Length: 2\r\n\r\nx"
        assert await wire.statuses(request, end=True) == [400]
    assert not shelf.records
