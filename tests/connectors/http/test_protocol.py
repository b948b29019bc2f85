"""The limits of the HTTP server, on real sockets.

`LimitedProtocol` overrides parts of uvicorn: these tests fail if uvicorn or httptools change.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import uvloop
from prometheus_client import REGISTRY
from starlette.types import Receive, Scope, Send

from connectors.http.protocol import HttpLimits
from schemas import limits
from tests.support.waiting import PATIENCE, until
from tests.support.wire import Connection, Wire, listening

# pytest-asyncio's newer hook works only for all tests together.
pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy.")

POST = b"POST /x HTTP/1.1\r\nhost: edge\r\n"
ONE = POST + b"content-length: 1\r\n\r\nx"
LAST = POST + b"connection: close\r\ncontent-length: 1\r\n\r\nx"


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    """The loop of the processes."""
    policy: asyncio.AbstractEventLoopPolicy = uvloop.EventLoopPolicy()
    return policy


class App:
    """Answers 200 with the body; keeps what it saw. Waits for `go` first."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.disconnects = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects += 1
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.bodies.append(body)
        await self.go.wait()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers 413 before the body."""
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def app() -> App:
    return App()


@pytest.fixture
async def wire(app: App) -> AsyncIterator[Wire]:
    async with listening(app) as wire:
        yield wire


def refused(limit: str) -> float:
    return REGISTRY.get_sample_value("linkstatus_http_refused_total", {"limit": limit}) or 0.0


def head_of(size: int) -> bytes:
    """A request whose head has `size` bytes, as the limit counts them."""
    used = len("/x") + len("host: edge\r\n") + len("connection: close\r\n")
    used += len("content-length: 1\r\n") + len("a: \r\n")
    lines = b"connection: close\r\ncontent-length: 1\r\na: " + b"x" * (size - used) + b"\r\n"
    return POST + lines + b"\r\nx"


# A: what is acknowledged is whole.

UPGRADES = [
    b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
    b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAA\r\n",
    b"connection: upgrade, close\r\nupgrade: TLS/1.0, h2c\r\n",
]


@pytest.mark.parametrize("offer", UPGRADES)
@pytest.mark.parametrize("split", [False, True])
async def test_a1_upgrade_offer_keeps_the_body(
    app: App, wire: Wire, offer: bytes, split: bool
) -> None:
    known = POST + offer + b"content-length: 5\r\n\r\n"
    chunked = POST + offer + b"transfer-encoding: chunked\r\n\r\n"
    for head, body in ((known, b"hello"), (chunked, b"5\r\nhello\r\n0\r\n\r\n")):
        connection = await wire.connect()
        await connection.send(*((head, body) if split else (head + body,)))
        assert await connection.answer() == (200, b"hello")
    assert app.bodies == [b"hello", b"hello"]


async def test_a1_upgrade_offer_leaves_the_connection_usable(app: App, wire: Wire) -> None:
    offer = POST + UPGRADES[0] + b"content-length: 1\r\n\r\nx"
    assert await wire.statuses(offer + ONE + LAST) == [200, 200, 200]


@pytest.mark.parametrize(
    "request_",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT edge:80 HTTP/1.1\r\nhost: edge\r\n\r\n",
        b"POST http://[ HTTP/1.1\r\nhost: edge\r\n\r\n",
        b"POST /\xff HTTP/1.1\r\nhost: edge\r\n\r\n",
        POST + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\nx",
        POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        POST + b"content-length: -1\r\n\r\n",
        POST + b"content-length: many\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        POST + b"a\x00b: c\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
async def test_malformed_request_gets_400(app: App, wire: Wire, request_: bytes) -> None:
    assert await wire.statuses(request_) == [400]
    assert not app.bodies


@pytest.mark.parametrize(
    "request_",
    [
        POST + b"content-length: 5\r\n\r\nhell",
        POST + b"content-length: 5\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n5\r\nhell",
        POST + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        POST + b"content-le",
        b"PO",
    ],
)
async def test_a1_request_that_is_cut_gets_400(app: App, wire: Wire, request_: bytes) -> None:
    assert await wire.statuses(request_, end=True) == [400]
    assert not app.bodies


async def test_client_that_ends_its_side_gets_its_answer(app: App, wire: Wire) -> None:
    assert await wire.statuses(ONE, end=True) == [200]
    assert await wire.statuses(b"", end=True) == []


async def test_a3_connection_is_idle_for_as_long_as_set(app: App) -> None:
    assert HttpLimits().idle_seconds == 75.0
    async with listening(app, HttpLimits(idle_seconds=1.0)) as wire:
        connection = await wire.connect()
        for _ in range(3):
            await connection.send(ONE)
            assert (await connection.answer())[0] == 200
            await asyncio.sleep(0.5)
        started = time.monotonic()
        # An empty line is no request: it does not make the connection busy.
        await connection.send(b"\r\n")
        assert await connection.rest() == b""
        assert time.monotonic() - started < 30


# B4: bytes and time are bounded.


@pytest.mark.parametrize(
    ("size", "status"),
    [
        (limits.HEAD_BYTES - 1, 200),
        (limits.HEAD_BYTES, 200),
        (limits.HEAD_BYTES + 1, 431),
        (10 * limits.HEAD_BYTES, 431),
        (60 * limits.MIB, 431),
    ],
)
async def test_b4_bytes_of_a_head_are_limited(app: App, wire: Wire, size: int, status: int) -> None:
    before = refused("head_bytes")
    assert await wire.statuses(head_of(size)) == [status]
    assert refused("head_bytes") - before == (status == 431)
    assert len(app.bodies) == (status == 200)


async def test_b4_long_url_is_part_of_the_head(app: App, wire: Wire) -> None:
    url = b"/" + b"x" * limits.HEAD_BYTES
    assert await wire.statuses(b"GET " + url + b" HTTP/1.1\r\n\r\n") == [431]


@pytest.mark.parametrize(
    ("number", "status"),
    [(limits.HEADERS - 1, 200), (limits.HEADERS, 200), (limits.HEADERS + 1, 431)],
)
async def test_b4_number_of_headers_is_limited(wire: Wire, number: int, status: int) -> None:
    lines = b"connection: close\r\ncontent-length: 1\r\n" + b"a: \r\n" * (number - 3)
    assert await wire.statuses(POST + lines + b"\r\nx") == [status]


@pytest.mark.parametrize(
    ("prefix", "line"),
    [
        (POST, b"a: b\r\n"),
        (POST + b"a: ", b"b"),
        (POST + b"a", b"a"),
        (b"GET /", b"b"),
        (POST + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"a: b\r\n"),
        (POST + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\na: ", b"b"),
        (POST + b"transfer-encoding: chunked\r\n\r\n1;", b"b"),
        (b"", ONE),
    ],
    ids=["lines", "value", "name", "url", "trailers", "trailer", "extension", "pipelined"],
)
async def test_b4_endless_request_is_ended_early(
    app: App, wire: Wire, prefix: bytes, line: bytes
) -> None:
    """A bounded part of it is in memory, and others are answered meanwhile."""
    app.go.clear()
    connection = await wire.connect()
    connection.writer.write(prefix)
    flood = asyncio.create_task(endless(connection, line * (65536 // len(line))))
    if line != ONE:
        # This one waits for its own answers, which the application holds back.
        await asyncio.wait_for(flood, 30)
    app.go.set()
    assert await wire.statuses(LAST) == [200]
    await asyncio.wait_for(flood, 30)
    assert max(map(len, app.bodies), default=0) <= 1
    assert len(app.bodies) <= limits.PIPELINED_REQUESTS + 2


async def endless(connection: Connection, block: bytes) -> None:
    """Send 300 MiB, or until the server closes the connection."""
    with contextlib.suppress(ConnectionError):
        for _ in range(300 * limits.MIB // len(block)):
            connection.writer.write(block)
            await connection.writer.drain()


async def test_b4_slow_head_gets_408(app: App) -> None:
    async with listening(app, HttpLimits(head_seconds=0.3)) as wire:
        assert await wire.statuses(POST) == [408]
        # Nothing came: there is nothing to answer.
        assert await wire.statuses() == []
        connection = await wire.connect()
        await connection.send(ONE)
        assert (await connection.answer())[0] == 200
        await connection.send(POST)
        assert b"408" in await connection.rest()


async def test_b4_slow_body_gets_408_and_the_application_a_disconnect(app: App) -> None:
    async with listening(app, HttpLimits(body_seconds=0.3)) as wire:
        assert await wire.statuses(POST + b"content-length: 2\r\n\r\nx") == [408]
        chunk = b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n"
        assert await wire.statuses(POST + chunk) == [408]
    assert (app.bodies, app.disconnects) == ([], 2)


async def test_b4_slow_and_idle_connections_make_room(app: App) -> None:
    before = refused("connections")
    async with listening(app, HttpLimits(connections=20)) as wire:
        starts = [b"", POST, POST + b"content-length: 2\r\n\r\nx", ONE]
        slow = [await wire.connect() for _ in range(60)]
        for number, connection in enumerate(slow):
            with contextlib.suppress(ConnectionError):
                await connection.send(starts[number % len(starts)])
        assert await wire.statuses(LAST) == [200]
        assert refused("connections") - before >= 40


async def test_b4_busy_connections_are_not_closed_for_a_new_one(app: App) -> None:
    app.go.clear()
    async with listening(app, HttpLimits(connections=3)) as wire:
        busy = [await wire.connect() for _ in range(3)]
        for connection in busy:
            await connection.send(ONE)
        await until(lambda: len(app.bodies) == 3, "three requests")
        assert await wire.statuses() == [503]
        app.go.set()
        assert [await connection.answer() for connection in busy] == [(200, b"x")] * 3


async def test_b4_body_of_any_request_is_limited(app: App, wire: Wire) -> None:
    size = limits.REQUEST_BYTES
    for extra, status in ((0, 200), (1, 413)):
        head = POST + b"connection: close\r\ncontent-length: %d\r\n\r\n" % (size + extra)
        assert await wire.statuses(head + b"x" * (size + extra)) == [status]


@pytest.mark.parametrize("number", [limits.PIPELINED_REQUESTS, 1000])
async def test_b4_pipelined_requests_are_answered_in_order_and_limited(
    app: App, wire: Wire, number: int
) -> None:
    app.go.clear()
    connection = await wire.connect()
    await connection.send(ONE * number + LAST)
    await until(lambda: len(app.bodies) == 1, "the first request")
    app.go.set()
    received = (await connection.rest()).count(b"HTTP/1.1 200")
    assert received == min(number, limits.PIPELINED_REQUESTS) + 1


@pytest.mark.parametrize("option", [b"", b"connection: close\r\n"])
async def test_answer_before_the_body_reaches_a_client_that_still_sends(option: bytes) -> None:
    async with listening(refuse) as wire:
        connection = await wire.connect()
        await connection.send(POST + option + b"content-length: 1000000\r\n\r\n")
        assert await connection.answer() == (413, b"")
        await connection.send(b"x" * 500_000)
        assert await connection.rest() == b""


async def test_b4_client_that_reads_no_answer_is_closed(
    app: App, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WRITE_SECONDS", 0.3)
    before = refused("write_seconds")
    connection = await wire.connect()
    connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
    size = 2_000_000
    request = POST + b"content-length: %d\r\n\r\n" % size + b"x" * size
    for _ in range(10):
        connection.writer.write(request)
    await until(lambda: refused("write_seconds") > before, "the server to give up")


async def test_pipelined_request_in_progress_sees_that_the_client_has_gone() -> None:
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def has_gone(receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(has_gone(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while not gone.done():
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                await asyncio.sleep(0)
        except RuntimeError as error:
            ended.set_exception(error)
        else:
            ended.set_result(None)

    async with listening(stream) as wire:
        connection = await wire.connect()
        await connection.send(ONE, ONE)
        await connection.reader.readuntil(b"x")
        wire.close(connection)
        await asyncio.wait_for(ended, PATIENCE)
