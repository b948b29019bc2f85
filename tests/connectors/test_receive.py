"""The callback URL: what is taken, what is refused, and what a sender cannot break."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette

from connectors.edge.access import Access
from connectors.edge.keys import NoKeys
from connectors.process import Address, http_server
from connectors.provider import (
    BadSignature,
    Facts,
    Inbound,
    KeysNeeded,
    Lookup,
    ProviderConfig,
    Raw,
)
from connectors.receive import Edge, in_front, routes
from schemas.records import LookupRequest, Status
from tests.connectors.outside import Shelf
from tests.waiting import PATIENCE, until

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Acme:
    """Signs with the header `x-acme-key`, whose value names a key of its key set."""

    name: ClassVar[str] = "acme"
    Config: ClassVar[type[ProviderConfig]] = ProviderConfig
    settlement: ClassVar[Any] = "elsewhere"
    polls: ClassVar[bool] = False
    ends_for_good: ClassVar[bool] = False
    calls_at_once: ClassVar[int] = 1
    kept_headers: ClassVar[frozenset[str]] = frozenset({"x-acme-key"})
    STATUS: ClassVar[Mapping[str, Status]] = {}

    def __init__(self, config: object = None) -> None: ...

    def key(self, body: bytes, content_type: str) -> str | None:
        if body == b"broken":
            raise ZeroDivisionError
        return {b"": None, b"odd": "\ud800"}.get(body, body[:20].decode("latin-1"))

    def authenticate(self, inbound: Inbound, jwks: bytes | None, now: int) -> bool:
        kid = inbound.headers.get("x-acme-key")
        if kid == "crash":
            raise ZeroDivisionError
        if kid == "forged":
            raise BadSignature("forged")
        if kid and (jwks is None or kid.encode("latin-1") not in jwks):
            raise KeysNeeded("https://acme.invalid/keys", kid)
        return bool(kid)

    def read(self, raw: Raw) -> Facts:
        raise NotImplementedError

    def can_look_up(self) -> bool:
        return False

    def lookup(self, request: LookupRequest, now: int) -> Lookup:
        raise NotImplementedError


class KeyRing:
    """A key set that gets its second key only when asked afresh."""

    def __init__(self, up: bool = True) -> None:
        self.up = up

    async def known(self, url: str) -> bytes:
        return b"old"

    async def fresh(self, url: str) -> bytes:
        if not self.up:
            raise NoKeys(url)
        return b"old new"


def an_app(shelf: Shelf, *, token: str | None = None, keys: KeyRing | None = None) -> Any:
    secret = {"acme": SecretStr(token)} if token else {}
    edge = Edge({"acme": Acme()}, secret, shelf, keys or KeyRing(), Access(None, local=True))
    return in_front(edge, Starlette(routes=list(routes(edge))))


def a_client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge")


async def post(
    shelf: Shelf, path: str = "/callbacks/acme", content: Any = b"link-1", **options: Any
) -> httpx.Response:
    headers = options.pop("headers", {})
    async with a_client(an_app(shelf, **options)) as client:
        return await client.post(path, content=content, headers=headers)


async def test_a_callback_is_stored_as_received_and_answered_with_an_empty_200() -> None:
    shelf = Shelf()
    headers = {"content-type": "application/json", "traceparent": TRACE, "x-other": "no"}
    answer = await post(shelf, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
    (record,) = shelf.records
    assert (record.topic, record.key, record.value) == ("callbacks.acme", b"acme:link-1", b"link-1")
    assert len(record.headers.pop("callback-id")) == 32
    assert record.headers.pop("received-at").isdigit()
    assert record.headers == {
        "provider": b"acme",
        "source": b"callback",
        "verified": b"0",
        "content-type": b"application/json",
        "traceparent": TRACE.encode(),
    }


async def test_a_signed_callback_is_verified_and_its_signature_kept() -> None:
    shelf = Shelf()
    assert (await post(shelf, headers={"x-acme-key": "old"})).status_code == 200
    assert shelf.records[0].headers["verified"] == b"1"
    assert shelf.records[0].headers["x-acme-key"] == b"old"


async def test_a_signature_that_nobody_can_judge_yet_is_kept_with_what_it_signs() -> None:
    """Ping's header and scheme are not documented: whoever learns them can judge what has come."""
    shelf = Shelf()
    sent = {"X-Ping-Signature": "t=1,v1=\xe9", "X-Callback-Id": "7"}
    latin = {name.encode(): text.encode("latin-1") for name, text in sent.items()}
    assert (await post(shelf, headers=latin)).status_code == 200
    (record,) = shelf.records
    assert record.headers["x-ping-signature"] == b"t=1,v1=\xe9"
    assert (record.headers["verified"], "x-callback-id" in record.headers) == (b"0", False)
    assert (await post(shelf, headers={"x-signature": "x" * 70_000})).status_code == 413


@pytest.mark.parametrize(
    "route", ["/callbacks/acme", "/callbacks/acme/", "/callbacks/acme/order/7"]
)
async def test_without_a_token_set_any_path_of_the_provider_is_taken(route: str) -> None:
    assert (await post(Shelf(), route)).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/callbacks/acme/s3cret", 200),
        ("/callbacks/acme", 401),
        ("/callbacks/acme/", 401),
        ("/callbacks/acme/wrong", 401),
        ("/callbacks/acme/wrong/s3cret", 401),
        ("/callbacks/acme/s3cret/", 401),
        ("/callbacks/acme/%FF%00", 401),
        ("/callbacks/acme/%E2%82%AC", 401),
    ],
)
async def test_a_token_once_set_must_be_in_the_path(path: str, status: int) -> None:
    shelf = Shelf()
    assert (await post(shelf, path, token="s3cret")).status_code == status
    assert len(shelf.records) == (status == 200)


async def test_a_bad_signature_is_refused_and_nothing_stored() -> None:
    shelf = Shelf()
    assert (await post(shelf, headers={"x-acme-key": "forged"})).status_code == 401
    assert not shelf.records


async def test_a_key_not_yet_known_is_fetched_once() -> None:
    assert (await post(Shelf(), headers={"x-acme-key": "new"})).status_code == 200
    assert (await post(Shelf(), headers={"x-acme-key": "never"})).status_code == 401


async def test_without_the_keys_the_provider_is_asked_to_send_again() -> None:
    shelf = Shelf()
    answer = await post(shelf, headers={"x-acme-key": "new"}, keys=KeyRing(up=False))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert not shelf.records


async def test_what_kafka_cannot_take_is_asked_for_again() -> None:
    answer = await post(Shelf(open=False))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_unknown_providers_and_methods_have_their_answers() -> None:
    shelf = Shelf()
    async with a_client(an_app(shelf)) as client:
        assert (await client.post("/callbacks/other")).status_code == 404
        assert (await client.post("/callbacks/")).status_code == 404
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            answer = await client.request(method, "/callbacks/acme")
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert not shelf.records


@pytest.mark.parametrize(("size", "status"), [(65_536, 200), (65_537, 413), (1_000_000, 413)])
async def test_more_than_64_kib_is_refused(size: int, status: int) -> None:
    shelf = Shelf()
    assert (await post(shelf, content=b"x" * size)).status_code == status
    assert len(shelf.records) == (status == 200)


async def test_a_body_of_unknown_length_is_read_no_further_than_needed() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 10_000

    assert (await post(Shelf(), content=endless())).status_code == 413
    assert read < 10


@pytest.mark.parametrize("body", [b"", b"broken", b"odd", b"\xff\x00", b"{" * 60_000])
async def test_no_body_can_break_the_edge(body: bytes) -> None:
    shelf = Shelf()
    assert (await post(shelf, content=body)).status_code == 200
    assert shelf.records[0].value == body


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("x-acme-key", b"crash", 401),
        ("x-acme-key", b"\xff\xfe", 401),
        ("x-acme-key", b"x" * 70_000, 413),
        ("content-type", b"\xe2\x82\xac; charset=\xff", 200),
        ("content-length", b"many", 200),
        ("content-length", b"\xb2", 200),
        ("content-length", b"9" * 5_000, 413),
        ("traceparent", b"\x00\xff", 200),
        ("traceparent", TRACE.upper().encode(), 200),
        ("traceparent", b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01", 200),
    ],
)
async def test_no_header_can_break_the_edge(name: str, value: bytes, status: int) -> None:
    shelf = Shelf()
    answered: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"1", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answered.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/callbacks/acme",
        "raw_path": b"/callbacks/acme",
        "headers": [(name.encode(), value)],
    }
    await an_app(shelf)(scope, receive, send)
    assert answered == [status]
    if status == 200:
        assert "traceparent" not in shelf.records[0].headers


async def test_a_sender_that_hangs_up_leaves_nothing() -> None:
    shelf = Shelf()

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError("there is nobody to answer")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/callbacks/acme",
        "raw_path": b"/callbacks/acme",
        "headers": [],
    }
    await an_app(shelf)(scope, receive, send)
    assert not shelf.records


REQUESTS = {
    "bad content-length": (b"Content-Length: many\r\n\r\n", b"400"),
    "negative content-length": (b"Content-Length: -1\r\n\r\n", b"400"),
    "chunked": (b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", b"200"),
    "bad chunk": (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
    "header in latin-1": (b"X-Acme-Key: \xff\xe9\r\nContent-Length: 0\r\n\r\n", b"401"),
    "a megabyte": (b"Content-Length: 1000000\r\n\r\n" + b"x" * 1_000_000, b"413"),
    "expecting": (b"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n", b"413"),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_on_the_wire_a_sender_never_gets_a_5xx(name: str) -> None:
    rest, status = REQUESTS[name]
    server = http_server(an_app(Shelf()), Address("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started, "the server")
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /callbacks/acme HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n" + rest)
    line = await asyncio.wait_for(reader.readline(), PATIENCE)
    writer.close()
    server.should_exit = True
    await serving
    assert line.split()[1] == status
