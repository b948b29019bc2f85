"""What the edge does not take is counted by provider and reason, and no restart loses a count."""

import asyncio
from collections import Counter

import httpx
import pytest

from connectors.http.protocol import HttpLimits
from connectors.kafka.publisher import Unavailable
from connectors.receive import refusals
from connectors.receive.process import Edge, application
from connectors.receive.refusals import Refusals
from schemas.codec import REFUSED_CALLBACKS
from schemas.limits import BODY_BYTES
from schemas.records import RefusedCallbacks
from tests.support.codecs import CODECS
from tests.support.edge import an_edge
from tests.support.fakes import FakePublisher
from tests.support.waiting import until
from tests.support.wire import listening

HOUR = 3_600_000_000
# Path, headers, body -> answer and reason.
REFUSED = [
    ("acme", {"x-acme-key": "forged"}, b"1", ("acme", 401, "signature")),
    ("acme", {"x-acme-key": "away"}, b"1", ("acme", 503, "keys")),
    ("acme", {"x-sign-signature": "x" * 70_000}, b"1", ("acme", 431, "head_bytes")),
    ("acme", {"content-encoding": "br"}, b"1", ("acme", 415, "encoding")),
    ("acme", {}, b"", ("acme", 400, "body")),
    ("acme", {}, b"x" * (BODY_BYTES + 1), ("acme", 413, "size")),
    ("safe/wrong", {}, b"1", ("acme", 401, "token")),
    ("other/s3cret", {}, b"1", ("unknown", 404, "path")),
]


def published(shelf: FakePublisher) -> list[RefusedCallbacks]:
    records = shelf.of("refused-callbacks")
    assert all(record.headers["event-id"] for record in records)
    return [CODECS.decode(REFUSED_CALLBACKS, record.value) for record in records]


def counts(records: list[RefusedCallbacks]) -> Counter[tuple[str, int, str]]:
    """Return the numbers as the board adds them up: of each process and hour, the highest."""
    highest: Counter[tuple[str, int, str, str, int]] = Counter()
    for r in records:
        highest |= Counter(
            {(r["provider"], r["answer"], r["reason"], r["edge"], r["hour"]): r["number"]}
        )
    total: Counter[tuple[str, int, str]] = Counter()
    for (provider, answer, reason, *_), number in highest.items():
        total[provider, answer, reason] += number
    return total


async def test_every_answer_but_200_is_counted_with_its_reason() -> None:
    shelf = FakePublisher()
    edge = an_edge(shelf)
    transport = httpx.ASGITransport(application(edge, []))
    async with httpx.AsyncClient(transport=transport, base_url="http://edge/callbacks/") as client:
        for path, headers, body, (_, answer, _) in REFUSED:
            response = await client.post(path, headers=headers, content=body)
            assert response.status_code == answer, path
        assert (await client.post("acme", content=b"1")).status_code == 200
        assert (await client.get("acme")).status_code == 405
        shelf.open = False
        assert (await client.post("acme", content=b"1")).status_code == 503
        shelf.open = True
    await edge.refusals.publish(shelf, CODECS)
    expected = [*(key for *_, key in REFUSED), ("acme", 405, "method"), ("acme", 503, "kafka")]
    records = published(shelf)
    assert counts(records) == Counter(expected)
    assert [r["detail"] for r in records if r["reason"] == "signature"] == ["forged"]
    # A path may hold a token.
    assert not any(b"s3cret" in (record.value or b"") for record in shelf.of("refused-callbacks"))


async def test_callback_to_another_address_is_counted() -> None:
    shelf = FakePublisher()
    edge = an_edge(shelf)
    transport = httpx.ASGITransport(application(edge, []))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/") as client:
        for path in ("", "callback/acme", "hooks/callbacks/acme/s3cret"):
            assert (await client.post(path, content=b"1")).status_code == 401
        assert (await client.post("links", json={})).status_code == 422
        assert (await client.get("callback/acme")).status_code == 404
    await edge.refusals.publish(shelf, CODECS)
    assert counts(published(shelf)) == Counter({("unknown", 401, "address"): 3})
    assert not any(b"s3cret" in (record.value or b"") for record in shelf.of("refused-callbacks"))


async def test_what_the_server_refuses_counts_for_the_provider_of_its_path() -> None:
    shelf = FakePublisher()
    edge = an_edge(shelf)
    start = b"POST /callbacks/acme?a=1 HTTP/1.1\r\nHost: edge\r\n"
    limits = HttpLimits(body_seconds=0.2)
    async with listening(application(edge, []), limits, edge.count_refusal) as wire:
        assert await wire.statuses(start + b"X: " + b"a" * 20_000 + b"\r\n\r\n") == [431]
        assert await wire.statuses(start + b"Content-Length: 2\r\n\r\nx") == [408]
        other = b"GET /links HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n"
        assert await wire.statuses(other) == [431]
        assert await wire.statuses(b"\x16\x03\x01\r\n\r\n") == [400]
    await edge.refusals.publish(shelf, CODECS)
    assert counts(published(shelf)) == Counter(
        [
            *(("acme", 431, "head_bytes"), ("acme", 408, "body_seconds")),
            ("unknown", 400, "malformed"),
        ]
    )


async def test_counts_outlive_an_outage_of_kafka_and_a_restart_of_the_edge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf, now = FakePublisher(open=False), 7 * HOUR
    monkeypatch.setattr(refusals, "micros_now", lambda: now)
    first = Refusals()
    for _ in range(9):
        first.count("acme", 401, "signature", "x" * 1000)
    with pytest.raises(Unavailable):
        await first.publish(shelf, CODECS)
    now += HOUR
    first.count("acme", 401, "signature")
    shelf.open = True
    await first.publish(shelf, CODECS)
    second = Refusals()
    second.count("acme", 401, "signature")
    await second.publish(shelf, CODECS)
    await second.publish(shelf, CODECS)
    records = published(shelf)
    assert [(r["hour"] // HOUR, r["number"]) for r in records] == [(7, 9), (8, 1), (8, 1)]
    assert counts(records) == Counter({("acme", 401, "signature"): 11})
    assert len({r["event_id"] for r in records}) == 3
    assert [len(r["detail"]) for r in records] == [200, 0, 0]


async def test_first_refusal_is_published_at_once_and_the_last_one_at_the_end() -> None:
    shelf = FakePublisher()
    edge: Edge = an_edge(shelf)
    running = asyncio.create_task(edge.refusals.run(shelf, CODECS))
    edge.refusals.count("acme", 401, "token")
    await until(lambda: len(shelf.records) == 1, "the first")
    edge.refusals.count("acme", 401, "token")
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert [record["number"] for record in published(shelf)] == [1, 2]
