"""POST /links: who may register, and what is wrong with what."""

import json
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from connectors.http.access import Access
from connectors.receive.process import application
from schemas.codec import LINK_REGISTERED
from schemas.ids import LONGEST_ID, is_identifier
from tests.support.codecs import CODECS
from tests.support.edge import TRACE, an_edge
from tests.support.fakes import FakePublisher

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
    shelf: FakePublisher | None = None,
    *,
    headers: dict[str, str] | None = None,
    client: str = "127.0.0.1",
    local: bool = True,
) -> httpx.Response:
    access = Access("127.0.0.1" if local else "0.0.0.0", SecretStr("t0ken"))
    app = application(an_edge(shelf or FakePublisher(), access), [])
    transport = httpx.ASGITransport(app, client=(client, 1))
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        return await http.post("/links", content=content, headers=headers)


async def test_accepted_registration_is_on_kafka() -> None:
    shelf = FakePublisher()
    answer = await register(WHOLE, shelf, headers={"traceparent": TRACE})
    assert (answer.status_code, answer.json()) == (202, LINK)
    (record,) = shelf.records
    assert (record.topic, record.key) == ("links", b"acme:a:1")
    assert record.headers == {"traceparent": TRACE.encode()}
    link = CODECS.decode(LINK_REGISTERED, record.value)
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


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data", ""])
async def test_body_is_read_as_json_whatever_its_type_says(kind: str) -> None:
    """`curl -d` names the type of a form; a client may name none, as in the other tests."""
    assert (await register(LINK, headers={"content-type": kind})).status_code == 202


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
async def test_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    shelf = FakePublisher()
    answer = await register({**WHOLE, **change}, shelf)
    assert answer.status_code == 422
    assert list(answer.json()["fields"]) == [field]
    assert answer.json()["fields"][field]
    assert not shelf.records


async def test_every_registered_id_is_valid_in_a_callback() -> None:
    for link_id in ("x" * LONGEST_ID, "é" * LONGEST_ID, " a/b?c=d:e ", "\u2028", "...", ".a."):
        assert (await register({**LINK, "link_id": link_id})).status_code == 202
        assert is_identifier(link_id)


async def test_every_wrong_field_is_named() -> None:
    answer = await register({"amount": 5, "links_in_order": 0})
    assert answer.json()["fields"].keys() == {"provider", "link_id", "amount", "links_in_order"}


async def test_what_is_wrong_with_a_field_is_in_words() -> None:
    wrong = {"provider": 5, "link_id": "..", "order_id": "", "amount": "-1", "links_in_order": 501}
    answer = await register({**wrong, "currency": ["EUR"], "expires_at": "today"})
    assert answer.json()["fields"] == {
        "provider": "must be text",
        "link_id": "must have no control characters, and be neither . nor ..",
        "order_id": "must not be empty",
        "amount": "must be a decimal number without a sign, such as 12.50",
        "currency": "must be text",
        "expires_at": "must be an RFC 3339 date and time with its offset from UTC",
        "links_in_order": "must be at most 500",
    }


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"link_id":"\\ud800"}'])
async def test_body_that_is_not_a_json_object_is_refused(body: bytes) -> None:
    assert (await register(body)).status_code == 422


async def test_large_body_is_413_and_unavailable_kafka_503() -> None:
    assert (await register(b" " * 70_000)).status_code == 413
    answer = await register(LINK, FakePublisher(open=False))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize(
    ("coding", "status"), [("gzip, chunked", 415), ("gzip", 415), ("Chunked", 202)]
)
async def test_body_in_a_transfer_coding_that_stays_on_is_415(coding: str, status: int) -> None:
    answer = await register(LINK, headers={"transfer-encoding": coding})
    assert answer.status_code == status, answer.text


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
async def test_registration_from_another_machine_needs_the_token(
    client: str, local: bool, headers: dict[str, str], status: int
) -> None:
    answer = await register(LINK, client=client, local=local, headers=headers)
    assert answer.status_code == status
