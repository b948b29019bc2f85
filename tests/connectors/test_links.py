"""POST /links: who may register, and what is wrong with what."""

import json
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette

from connectors.edge.access import Access
from connectors.loopback import is_loopback
from connectors.reading import LONGEST_ID, is_identifier
from connectors.receive import Edge, routes
from schemas.codec import LINK_REGISTERED
from tests.connectors.outside import Shelf
from tests.connectors.test_receive import TRACE, Acme, KeyRing

LINK = {"provider": "acme", "link_id": "a:1"}
WHOLE = {
    **LINK,
    "order_id": "order 7",
    "amount": "12.30",
    "currency": "EUR",
    "expires_at": "2030-01-02T03:04:05.000006+01:00",
    "links_in_order": 2,
}


async def register(
    body: Any,
    shelf: Shelf | None = None,
    *,
    headers: dict[str, str] | None = None,
    client: str = "127.0.0.1",
    local: bool = True,
) -> httpx.Response:
    access = Access(SecretStr("t0ken"), local)
    edge = Edge({"acme": Acme()}, {}, shelf or Shelf(), KeyRing(), access)
    transport = httpx.ASGITransport(Starlette(routes=list(routes(edge))), client=(client, 1))
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as http:
        return await http.post("/links", content=content, headers=headers or {})


async def test_a_registration_is_on_kafka_when_it_is_accepted() -> None:
    shelf = Shelf()
    answer = await register(WHOLE, shelf, headers={"traceparent": TRACE})
    assert (answer.status_code, answer.json()) == (202, LINK)
    (record,) = shelf.records
    assert (record.topic, record.key) == ("links", b"acme:a:1")
    assert record.headers == {"traceparent": TRACE.encode()}
    link = LINK_REGISTERED.decode(record.value)
    assert link.pop("registered_at") > 1_700_000_000_000_000  # type: ignore[misc]
    assert link == {
        "provider": "acme",
        "link_id": "a:1",
        "order_id": "order 7",
        "amount_minor": 1230,
        "currency": "EUR",
        "expires_at": 1_893_549_845_000_006,
        "links_in_order": 2,
    }


async def test_only_provider_and_link_are_needed() -> None:
    assert (await register(LINK)).status_code == 202


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"provider": "other"}, "provider"),
        ({"provider": 5}, "provider"),
        ({"link_id": ""}, "link_id"),
        ({"link_id": "x" * (LONGEST_ID + 1)}, "link_id"),
        ({"order_id": "x" * (LONGEST_ID + 1)}, "order_id"),
        ({"link_id": "a\nb"}, "link_id"),
        ({"link_id": "."}, "link_id"),
        ({"order_id": ".."}, "order_id"),
        ({"link_id": 17}, "link_id"),
        ({"order_id": ""}, "order_id"),
        ({"amount": "12.30", "currency": None}, "currency"),
        ({"amount": 12.3}, "amount"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "1e3"}, "amount"),
        ({"amount": "1_000"}, "amount"),
        ({"amount": "١٢"}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": "0.001"}, "amount"),
        ({"amount": "1" + "0" * 30}, "amount"),
        ({"currency": "eur"}, "currency"),
        ({"currency": "XXX"}, "currency"),
        ({"amount": None, "currency": "QQQ"}, "currency"),
        ({"expires_at": "2030-01-02T03:04:05"}, "expires_at"),
        ({"expires_at": "2030-01-02"}, "expires_at"),
        ({"expires_at": 1_900_000_000}, "expires_at"),
        ({"expires_at": "1900000000"}, "expires_at"),
        ({"expires_at": "2030-13-02T03:04:05Z"}, "expires_at"),
        ({"links_in_order": 0}, "links_in_order"),
        ({"links_in_order": 501}, "links_in_order"),
        ({"links_in_order": "2"}, "links_in_order"),
        ({"links_in_order": 1.5}, "links_in_order"),
        ({"links_in_order": True}, "links_in_order"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    shelf = Shelf()
    answer = await register({**WHOLE, **change}, shelf)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert error["message"]
    assert not shelf.records


async def test_every_id_that_can_be_registered_can_be_reported_on() -> None:
    for link_id in (
        "x" * LONGEST_ID,
        "é" * LONGEST_ID,
        " a/b?c=d:e ",
        "\u2028",
        "...",
        "..a",
        ".a.",
        "a.",
    ):
        assert (await register({**LINK, "link_id": link_id})).status_code == 202
        assert is_identifier(link_id)


async def test_every_wrong_field_is_named() -> None:
    answer = await register({"amount": 5, "links_in_order": 0})
    fields = {error["field"] for error in answer.json()["errors"]}
    assert fields == {"provider", "link_id", "amount", "links_in_order"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"link_id":"\\ud800"}'])
async def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    assert (await register(body)).status_code == 422


async def test_size_and_kafka_have_their_answers() -> None:
    assert (await register(b" " * 70_000)).status_code == 413
    answer = await register(LINK, Shelf(open=False))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


BEARER = {"authorization": "Bearer t0ken"}


@pytest.mark.parametrize(
    ("client", "local", "headers", "status"),
    [
        ("127.0.0.1", True, {}, 202),
        ("::1", True, {}, 202),
        ("127.0.0.1", True, {"origin": "http://localhost:8080"}, 202),
        ("127.0.0.1", True, {"origin": "https://evil.example"}, 401),
        ("127.0.0.1", True, {"origin": "http://[oops"}, 401),
        ("127.0.0.1", True, {"origin": "null"}, 401),
        ("10.0.0.7", True, {}, 401),
        ("127.0.0.1", False, {}, 401),
        ("127.0.0.1", False, {"authorization": "Bearer wrong"}, 401),
        ("127.0.0.1", False, {"authorization": "Basic t0ken"}, 401),
        ("10.0.0.7", False, BEARER, 202),
        ("10.0.0.7", False, {"authorization": "bearer  t0ken"}, 202),
    ],
)
async def test_registering_from_elsewhere_needs_the_token(
    client: str, local: bool, headers: dict[str, str], status: int
) -> None:
    answer = await register(LINK, client=client, local=local, headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost")),
        *((host, False) for host in ("0.0.0.0", "", "::", "example.com", "10.0.0.1")),
    ],
)
def test_loopback_is_this_machine_and_nothing_else(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
