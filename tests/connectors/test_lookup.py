"""The lookup process: what is asked, how often, what is published, and what is only then done."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol

import httpx
import pytest
from prometheus_client import REGISTRY

from connectors.clock import micros_now
from connectors.ipint import IPint, IPintConfig
from connectors.lookup.desk import Desk
from connectors.lookup.questions import Limits
from connectors.progress import Progress
from schemas.codec import LOOKUP_REQUEST
from schemas.records import LookupReason, Status
from tests.connectors.outside import UNKNOWN, Published, Shelf, slow_registry, somebodys, taken
from tests.waiting import until

QUICK = Limits(
    per_second=10_000,
    unissued_per_minute=600_000,
    timeout=10,
    claim_pauses=(0.01, 0.02),
    retry_pauses=(0.001, 0.01),
    breaker_pauses=(0.001, 0.01),
)
AMOUNTS = {
    f"{side}_{measure}": "10.00"
    for side in ("invoice", "received")
    for measure in ("amount_in_local_currency", "amount_in_usd", "crypto_amount")
}


def dead(kind: str) -> float:
    labels = {"stage": "lookup", "kind": kind}
    return REGISTRY.get_sample_value("linkstatus_dead_letters_total", labels) or 0.0


def invoice(link_id: str, status: str, **amounts: str) -> bytes:
    told = {"invoice_id": link_id, "transaction_status": status, "local_currency_code": "EUR"}
    return json.dumps({"data": {**told, **AMOUNTS, **amounts}}).encode()


class Api:
    """iPint's API: answers each link with its words in turn, then with the last one again."""

    def __init__(self, **words: Sequence[str | int | Exception]) -> None:
        self.words = {link: list(said) for link, said in words.items()}
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def answer(self, request: httpx.Request) -> httpx.Response:
        link = request.url.params["id"]
        self.asked.append(link)
        await self.gate.wait()
        said = self.words.get(link, ["CHECKING"])
        word = said.pop(0) if len(said) > 1 else said[0]
        if isinstance(word, Exception):
            raise word
        if isinstance(word, int):
            return httpx.Response(word, headers={"retry-after": "0"} if word == 429 else {})
        return httpx.Response(200, content=invoice(link, word))


def request(
    link: str,
    claimed: Status | None = None,
    *,
    reason: LookupReason = "CLAIM",
    issued: bool = True,
    provider: str = "ipint",
    at: int = 1,
) -> bytes:
    return LOOKUP_REQUEST.encode(
        {
            "request_id": "r",
            "provider": provider,
            "link_id": link,
            "reason": reason,
            "claimed_status": claimed,
            "payment_id": None,
            "issued": issued,
            "requested_at": at,
        }
    )


class Office:
    """A desk at work, its shelf of answers, and the progress of what it took."""

    def __init__(self, desk: Desk, shelf: Shelf) -> None:
        self.desk = desk
        self.shelf = shelf
        self.progress = Progress()
        self._offset = 0

    async def take(self, value: bytes, key: bytes | None = b"ipint:x") -> None:
        await self.desk.take(taken("lookups", key, value, self.progress, self._offset))
        self._offset += 1

    async def finished(self) -> list[Published]:
        await until(lambda: self.progress.waiting == 0, "the requests to be done")
        return self.shelf.of("callbacks.ipint")


def an_ipint(configured: bool = True) -> IPint:
    keys = {"api_key": "key", "api_secret": "s3cret"} if configured else {}
    return IPint(IPintConfig.model_validate({"api_url": "http://ipint.test", **keys}))


class Answers(Protocol):
    async def answer(self, request: httpx.Request, /) -> httpx.Response: ...


@asynccontextmanager
async def asking(
    api: Answers, limits: Limits = QUICK, configured: bool = True
) -> AsyncIterator[Office]:
    shelf = Shelf()
    async with httpx.AsyncClient(transport=httpx.MockTransport(api.answer)) as client:
        names = frozenset({"ipint", "ping"})
        desk = Desk(an_ipint(configured), client, shelf, limits, names)
        running = asyncio.create_task(desk.run())
        yield Office(desk, shelf)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def finals(records: list[Published]) -> list[bool]:
    return [record.headers.get("lookup-final") == b"1" for record in records]


async def test_an_answer_is_published_raw_before_the_request_is_done() -> None:
    async with asking(Api(i1=["COMPLETED"])) as office:
        await office.take(request("i1", "PAID"))
        (record,) = await office.finished()
    assert (record.key, record.value) == (b"ipint:i1", invoice("i1", "COMPLETED"))
    assert len(record.headers.pop("callback-id")) == 32
    assert record.headers.pop("received-at").isdigit()
    assert record.headers == {
        "provider": b"ipint",
        "source": b"lookup",
        "verified": b"1",
        "content-type": b"application/json",
        "lookup-link": b"i1",
        "lookup-reason": b"CLAIM",
        "lookup-status": b"200",
        "lookup-claim": b"PAID",
        "lookup-final": b"1",
    }


async def test_a_poll_is_marked_as_one_and_has_no_last_word() -> None:
    async with asking(Api()) as office:
        await office.take(request("i1", reason="POLL"))
        (record,) = await office.finished()
    assert record.headers["source"] == b"poll"
    assert not {"lookup-claim", "lookup-final"} & record.headers.keys()


async def test_a_claim_not_yet_confirmed_is_asked_for_three_times() -> None:
    async with asking(Api(i1=["CHECKING"])) as office:
        await office.take(request("i1", "PAID"))
        assert finals(await office.finished()) == [False, False, True]


@pytest.mark.parametrize("word", ["COMPLETED", "FAILED", "CANCELLED"])
async def test_any_ending_is_the_last_word_on_a_claim(word: str) -> None:
    async with asking(Api(i1=["PROCESSING", word, "CHECKING"])) as office:
        await office.take(request("i1", "PAID"))
        assert finals(await office.finished()) == [False, True]


@pytest.mark.parametrize("received", ["9.99", "10.01"])
async def test_completed_with_too_little_or_too_much_is_the_last_word(received: str) -> None:
    class Odd(Api):
        async def answer(self, request: httpx.Request) -> httpx.Response:
            self.asked.append("i1")
            amounts = {"received_amount_in_local_currency": received}
            return httpx.Response(200, content=invoice("i1", "COMPLETED", **amounts))

    api = Odd()
    async with asking(api) as office:
        await office.take(request("i1", "PAID"))
        assert finals(await office.finished()) == [True]
    assert len(api.asked) == 1


async def test_a_growing_nonce_is_never_overtaken() -> None:
    class Strict(Api):
        """Refuses a nonce that is not above all that arrived before it, as iPint does; requests
        take the longer to arrive the earlier they were sent."""

        last = refused = 0

        async def answer(self, request: httpx.Request) -> httpx.Response:
            link = request.url.params["id"]
            self.asked.append(link)
            for _ in range(50 - len(self.asked) % 50):
                await asyncio.sleep(0)
            nonce = int(request.headers["nonce"])
            if nonce <= self.last:
                self.refused += 1
                return httpx.Response(401)
            self.last = nonce
            return httpx.Response(200, content=invoice(link, "COMPLETED"))

    api = Strict()
    async with asking(api) as office:
        for number in range(60):
            await office.take(request(f"i{number}", "PAID", issued=number % 2 == 0))
        await office.finished()
    assert (api.refused, len(api.asked)) == (0, 60)


async def test_a_link_the_provider_does_not_know_is_the_last_word() -> None:
    async with asking(Api(i1=[404])) as office:
        await office.take(request("i1", "PAID"))
        (record,) = await office.finished()
    assert record.headers["lookup-status"] == b"404"
    assert finals([record]) == [True]


async def test_a_claim_of_no_ending_is_asked_for_once() -> None:
    async with asking(Api(i1=["CHECKING"])) as office:
        await office.take(request("i1", "PROCESSING"))
        assert finals(await office.finished()) == [True]


FAILURES = [
    *(500, 503, 429, 401, 302),
    *(httpx.ConnectError("away"), httpx.ReadTimeout("slow"), httpx.DecodingError("no gzip")),
]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
async def test_what_can_be_cured_is_asked_again_without_end(failure: int | Exception) -> None:
    api = Api(i1=[*[failure] * 30, "COMPLETED"])
    async with asking(api) as office:
        await office.take(request("i1", "PAID"))
        assert finals(await office.finished()) == [True]
    assert len(api.asked) == 31


@pytest.mark.parametrize(
    "page", [b"", b"<html>maintenance</html>", b'{"data": {"invoice_id"', b"\xff"]
)
async def test_an_answer_that_is_no_json_is_not_taken_for_one(page: bytes) -> None:
    class Broken(Api):
        async def answer(self, request: httpx.Request) -> httpx.Response:
            told = await super().answer(request)
            return told if len(self.asked) > 3 else httpx.Response(200, content=page)

    async with asking(Broken(i1=["COMPLETED"])) as office:
        await office.take(request("i1", reason="DETAILS"))
        (record,) = await office.finished()
        assert office.shelf.of("dead-letters") == []
    assert record.value == invoice("i1", "COMPLETED")


async def test_requests_that_ask_the_same_are_merged() -> None:
    api = Api(i1=["COMPLETED"])
    api.gate.clear()
    async with asking(api) as office:
        for _ in range(5):
            await office.take(request("i1", "PAID"))
        await until(lambda: len(api.asked) == 1, "the question")
        await office.take(request("i1", "PAID"))
        assert office.progress.waiting == 6
        api.gate.set()
        assert len(await office.finished()) == 1


async def test_another_claim_of_the_same_link_has_its_own_answer() -> None:
    async with asking(Api(i1=["CANCELLED"])) as office:
        await office.take(request("i1", "PAID"))
        await office.take(request("i1", "FAILED"))
        claims = [record.headers["lookup-claim"] for record in await office.finished()]
    assert sorted(claims) == [b"FAILED", b"PAID"]


@pytest.mark.parametrize("word", ["COMPLETED", "FAILED", "CANCELLED"])
async def test_what_was_asked_before_the_end_was_told_is_not_asked_after_it(word: str) -> None:
    """A provider was away: polls and claims of one invoice wait."""
    api = Api(i1=[httpx.ConnectError("away"), "PROCESSING", word])
    api.gate.clear()
    async with asking(api, replace(QUICK, claim_pauses=())) as office:
        for asked in (request("i1", reason="POLL"), request("i1", "PAID"), request("i1", "FAILED")):
            await office.take(asked)
        await office.take(request("i1", "PAID", issued=False))
        api.gate.set()
        records = await office.finished()
    # Away, open, ended: and the questions that still waited were answered by that.
    assert len(api.asked) == 3
    assert len(records) == 4
    assert [record.value for record in records[1:]] == [invoice("i1", word)] * 3


@pytest.mark.parametrize("for_good", [True, False])
async def test_a_claim_made_after_the_end_is_asked_about_unless_it_was_for_good(
    monkeypatch: pytest.MonkeyPatch, for_good: bool
) -> None:
    assert IPint.ends_for_good
    monkeypatch.setattr(IPint, "ends_for_good", for_good)
    api = Api(i1=["FAILED", "COMPLETED"])
    async with asking(api) as office:
        await office.take(request("i1", "FAILED"))
        await office.finished()
        await office.take(request("i1", "PAID", at=micros_now() + 1_000_000))
        _, last = await office.finished()
    assert len(api.asked) == (1 if for_good else 2)
    assert last.value == invoice("i1", "FAILED" if for_good else "COMPLETED")
    assert last.headers["lookup-claim"] == b"PAID"


async def test_a_request_is_asked_again_once_it_was_answered() -> None:
    api = Api(i1=["CHECKING"])
    async with asking(api) as office:
        for _ in range(3):
            await office.take(request("i1", reason="POLL"))
            await office.finished()
    assert len(api.asked) == 3


async def test_nothing_is_done_before_its_answer_is_on_kafka() -> None:
    async with asking(Api(i1=["COMPLETED"])) as office:
        office.shelf.open = False
        await office.take(request("i1", "PAID"))
        await until(lambda: office.desk.room() == QUICK.most_waiting - 1, "the request to wait")
        assert office.progress.next_offset == 0
        office.shelf.open = True
        await office.finished()


async def test_beyond_the_bound_there_is_no_room_and_the_unissued_are_dropped() -> None:
    api = Api()
    api.gate.clear()
    async with asking(api, replace(QUICK, most_waiting=3, most_unissued=2)) as office:
        for number in range(3):
            await office.take(request(f"ours-{number}", reason="POLL"))
        assert office.desk.room() == 0
        for number in range(4):
            await office.take(request(f"theirs-{number}", "PAID", issued=False))
        assert office.progress.waiting == 7
        api.gate.set()
        await office.finished()
        assert office.desk.room() == 3
    asked = {link for link in api.asked if link.startswith("theirs")}
    assert asked == {"theirs-0", "theirs-1"}


async def test_forged_ids_cannot_use_up_what_our_own_links_need() -> None:
    api = Api()
    async with asking(api, replace(QUICK, unissued_per_minute=1)) as office:
        for number in range(50):
            await office.take(request(f"theirs-{number}", issued=False))
        for number in range(50):
            await office.take(request(f"ours-{number}"))
        done = lambda: sum(link.startswith("ours") for link in api.asked) == 50  # noqa: E731
        await until(done, "our own links")
    assert sum(link.startswith("theirs") for link in api.asked) <= 2


async def test_without_credentials_nothing_is_asked_and_nothing_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = Api()
    async with asking(api, configured=False) as office:
        for _ in range(3):
            await office.take(request("i1"))
        assert await office.finished() == []
    assert api.asked == []
    assert [r.message for r in caplog.records if "credentials" in r.message] == [
        "ipint: no credentials for its API, so nothing is looked up"
    ]


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b"", b"ipint:x"),
        (b"\x00\x00\x00\x00\x01junk", b"ipint:x"),
        (request("i1", provider="ping"), b"ipint:i1"),
        (request("i1", provider="nobody"), b"nobody:i1"),
        (b"junk", None),
    ],
)
async def test_a_broken_request_becomes_a_dead_letter_and_stops_nothing(
    value: bytes, key: bytes | None
) -> None:
    before = dead("BadRecord")
    async with asking(Api(i2=["COMPLETED"])) as office:
        await office.take(value, key)
        await office.take(request("i2", "PAID"))
        assert len(await office.finished()) == 1
        (letter,) = office.shelf.of("dead-letters")
    assert (letter.key, letter.value) == (key, value)
    assert (letter.headers["stage"], letter.headers["origin"]) == (b"lookup", b"lookups/0/0")
    assert letter.headers["reason"]
    assert dead("BadRecord") == before + 1


async def test_another_providers_request_is_left_to_its_own_consumer() -> None:
    async with asking(Api()) as office:
        await office.take(b"not even a record", b"ping:x")
        await office.finished()
        assert office.shelf.records == []


async def test_a_request_that_breaks_the_providers_code_becomes_a_dead_letter() -> None:
    before = dead("ZeroDivisionError")
    async with asking(Api(i1=[ZeroDivisionError("a bug")])) as office:
        await office.take(request("i1"))
        await office.finished()
        (letter,) = office.shelf.of("dead-letters")
    assert b"a bug" in letter.headers["reason"]
    assert dead("ZeroDivisionError") == before + 1


async def test_nobody_waits_while_a_schema_is_asked_for() -> None:
    api = Api()
    async with asking(api) as office:
        with slow_registry(LOOKUP_REQUEST.text) as let_go:
            await asyncio.gather(office.take(somebodys(request("a", reason="POLL"))), let_go())
        await office.finished()
    assert api.asked == ["a"]


async def test_what_goes_elsewhere_while_its_schema_is_asked_for_dies_there_alone() -> None:
    async with asking(Api()) as office:
        with slow_registry(LOOKUP_REQUEST.text) as let_go:
            taking = asyncio.create_task(office.take(UNKNOWN))
            await asyncio.sleep(0)  # now it asks
            office.progress.live = False
            await asyncio.gather(taking, let_go())
        assert office.shelf.records == []
