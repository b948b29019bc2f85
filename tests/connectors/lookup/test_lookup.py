"""The lookup executor: what it asks, how often, what it publishes, and when it commits."""

import asyncio
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest
from prometheus_client import REGISTRY

from connectors.clock import micros_now
from connectors.providers.ipint import IPint
from connectors.providers.raw import Raw
from schemas.codec import LOOKUP_REQUEST
from schemas.records import Status
from tests.connectors.lookup.harness import QUICK, Api, asking, finals, invoice, new_ipint, request
from tests.example_provider.acme import Acme, AcmeConfig
from tests.support.codecs import CODECS
from tests.support.fakes import UNKNOWN_SCHEMA, slow_registry, with_foreign_id
from tests.support.waiting import until


async def test_answer_is_published_raw_with_the_headers_of_its_request() -> None:
    async with asking(Api(i1=["COMPLETED"])) as working:
        await working.take(request("i1", "PAID"))
        (record,) = await working.finished()
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


async def test_poll_has_its_own_source_and_no_last_word() -> None:
    async with asking(Api()) as working:
        await working.take(request("i1", reason="POLL"))
        (record,) = await working.finished()
    assert record.headers["source"] == b"poll"
    assert not {"lookup-claim", "lookup-final"} & record.headers.keys()


@pytest.mark.parametrize(
    ("answers", "claim", "final"),
    [
        (["CHECKING"], "PAID", [False, False, True]),
        (["PROCESSING", "COMPLETED", "CHECKING"], "PAID", [False, True]),
        (["PROCESSING", "FAILED", "CHECKING"], "PAID", [False, True]),
        (["PROCESSING", "CANCELLED", "CHECKING"], "PAID", [False, True]),
        ([404], "PAID", [False, False, True]),
        ([400], "PAID", [True]),
        ([invoice("i1", "COMPLETED", received_amount_in_local_currency="9.99")], "PAID", [True]),
        ([invoice("i1", "COMPLETED", received_amount_in_local_currency="10.01")], "PAID", [True]),
        (["CHECKING"], "PROCESSING", [True]),
    ],
    ids=[
        "never confirmed",
        "completed",
        "failed",
        "cancelled",
        "d2 unknown link",
        "refused id",
        "too little",
        "too much",
        "no claimed end",
    ],
)
async def test_claimed_end_is_looked_up_until_an_end_and_at_most_three_times(
    answers: list[str | bytes | int], claim: Status, final: list[bool]
) -> None:
    async with asking(Api(i1=answers)) as working:
        await working.take(request("i1", claim))
        records = await working.finished()
    assert finals(records) == final
    status = b"%d" % (answers[0] if isinstance(answers[0], int) else 200)
    assert {record.headers["lookup-status"] for record in records} == {status}


async def test_growing_nonce_is_never_overtaken() -> None:
    class Strict(Api):
        """Refuses a nonce that is not above all that arrived before it, as iPint does; requests
        take the longer to arrive the earlier they were sent."""

        last = refused = 0

        async def answer(self, request: httpx.Request) -> httpx.Response:
            link = request.url.params["id"]
            self.requested.append(link)
            for _ in range(50 - len(self.requested) % 50):
                await asyncio.sleep(0)
            nonce = int(request.headers["nonce"])
            if nonce <= self.last:
                self.refused += 1
                return httpx.Response(401)
            self.last = nonce
            return httpx.Response(200, content=invoice(link, "COMPLETED"))

    api = Strict()
    async with asking(api) as working:
        for number in range(60):
            await working.take(request(f"i{number}", "PAID", issued=number % 2 == 0))
        await working.finished()
    assert (api.refused, len(api.requested)) == (0, 60)


def dead(kind: str) -> float:
    labels = {"stage": "lookup", "kind": kind}
    return REGISTRY.get_sample_value("linkstatus_dead_letters_total", labels) or 0.0


FAILURES = [
    *(500, 503, 429, 401, 302),
    *(httpx.ConnectError("away"), httpx.ReadTimeout("slow"), httpx.DecodingError("no gzip")),
]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
async def test_retryable_failure_is_retried_without_end(failure: int | Exception) -> None:
    api = Api(i1=[*[failure] * 30, "COMPLETED"])
    async with asking(api) as working:
        await working.take(request("i1", "PAID"))
        assert finals(await working.finished()) == [True]
    assert len(api.requested) == 31


@pytest.mark.parametrize(
    "page", [b"", b"<html>maintenance</html>", b'{"data": {"invoice_id"', b"\xff", b"null"]
)
async def test_success_without_json_is_retried(page: bytes) -> None:
    async with asking(Api(i1=[page, page, page, "COMPLETED"])) as working:
        await working.take(request("i1", reason="DETAILS"))
        (record,) = await working.finished()
        assert working.publisher.of("dead-letters") == []
    assert record.value == invoice("i1", "COMPLETED")


async def test_same_requests_are_merged() -> None:
    api = Api(i1=["COMPLETED"])
    api.gate.clear()
    async with asking(api) as working:
        for _ in range(5):
            await working.take(request("i1", "PAID"))
        await until(lambda: len(api.requested) == 1, "the call")
        await working.take(request("i1", "PAID"))
        assert working.tracker.pending == 6
        api.gate.set()
        assert len(await working.finished()) == 1


async def test_each_claim_of_a_link_has_its_own_answer() -> None:
    async with asking(Api(i1=["CANCELLED"])) as working:
        await working.take(request("i1", "PAID"))
        await working.take(request("i1", "FAILED"))
        claims = [record.headers["lookup-claim"] for record in await working.finished()]
    assert sorted(claims) == [b"FAILED", b"PAID"]


async def test_d3_link_that_we_never_issued_has_one_question() -> None:
    api = Api(i1=["CHECKING"])
    api.gate.clear()
    async with asking(api) as working:
        for claim in ("CREATED", "FAILED", "PAID"):
            await working.take(request("i1", claim, issued=False))
        api.gate.set()
        records = await working.finished()
    assert len(api.requested) == 3, "the first question, and two more for the claimed end"
    assert [record.headers["lookup-claim"] for record in records] == [b"FAILED"] * 3
    assert finals(records) == [False, False, True]


@pytest.mark.parametrize("end", ["COMPLETED", "FAILED", "CANCELLED"])
async def test_end_answers_requests_made_before_it(end: str) -> None:
    """A provider was away: polls and claims of one invoice wait."""
    api = Api(i1=[httpx.ConnectError("away"), "PROCESSING", end])
    api.gate.clear()
    async with asking(api, replace(QUICK, claim_pauses=())) as working:
        for value in (request("i1", reason="POLL"), request("i1", "PAID"), request("i1", "FAILED")):
            await working.take(value)
        await working.take(request("i1", "PAID", issued=False))
        api.gate.set()
        records = await working.finished()
    # Away, open, ended: and the end answers the requests that still waited.
    assert len(api.requested) == 3
    assert len(records) == 4
    assert [record.value for record in records[1:]] == [invoice("i1", end)] * 3


@pytest.mark.parametrize("final", [True, False])
async def test_later_claim_is_looked_up_unless_the_end_is_final(
    monkeypatch: pytest.MonkeyPatch, final: bool
) -> None:
    assert IPint.final_after_end
    monkeypatch.setattr(IPint, "final_after_end", final)
    api = Api(i1=["FAILED", "COMPLETED"])
    async with asking(api) as working:
        await working.take(request("i1", "FAILED"))
        await working.finished()
        await working.take(request("i1", "PAID", at=micros_now() + 1_000_000))
        _, last = await working.finished()
    assert len(api.requested) == (1 if final else 2)
    assert last.value == invoice("i1", "FAILED" if final else "COMPLETED")
    assert last.headers["lookup-claim"] == b"PAID"


async def test_answered_request_is_looked_up_when_it_comes_again() -> None:
    api = Api(i1=["CHECKING"])
    async with asking(api) as working:
        for _ in range(3):
            await working.take(request("i1", reason="POLL"))
            await working.finished()
    assert len(api.requested) == 3


async def test_request_is_committed_only_after_its_answer_is_on_kafka() -> None:
    async with asking(Api(i1=["COMPLETED"])) as working:
        working.publisher.open = False
        await working.take(request("i1", "PAID"))
        capacity = working.executor.capacity
        await until(lambda: capacity() == QUICK.max_pending - 1, "the request to wait")
        assert working.tracker.next_offset == 0
        working.publisher.open = True
        await working.finished()


async def test_capacity_ends_and_unissued_requests_are_dropped_at_their_limits() -> None:
    api = Api()
    api.gate.clear()
    async with asking(api, replace(QUICK, max_pending=3, max_unissued=2)) as working:
        for number in range(3):
            await working.take(request(f"ours-{number}", reason="POLL"))
        assert working.executor.capacity() == 0
        for number in range(4):
            await working.take(request(f"theirs-{number}", "PAID", issued=False))
        assert working.tracker.pending == 7
        api.gate.set()
        await working.finished()
        assert working.executor.capacity() == 3
    theirs = {link for link in api.requested if link.startswith("theirs")}
    assert theirs == {"theirs-0", "theirs-1"}


async def test_forged_ids_take_no_calls_from_our_own_links() -> None:
    api = Api()
    async with asking(api, replace(QUICK, unissued_per_minute=1)) as working:
        for number in range(50):
            await working.take(request(f"theirs-{number}", issued=False))
        for number in range(50):
            await working.take(request(f"ours-{number}"))
        ours = {f"ours-{number}" for number in range(50)}
        await until(lambda: ours <= set(api.requested), "our own links")
    assert sum(link.startswith("theirs") for link in api.requested) <= 2


async def test_proven_question_about_a_batch_passes_forged_ones() -> None:
    paths: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return httpx.Response(200, json={"events": []})

    acme = Acme(AcmeConfig.model_validate({"api_key": "k", "api_url": "http://acme.test"}))

    def question(batch_id: str, verified: bool) -> bytes:
        body = b'{"batch": "%s"}' % batch_id.encode()
        (lookup,) = acme.read(Raw("acme", body, {}, "callback", verified, 1, "")).lookups
        return CODECS.encode(LOOKUP_REQUEST, lookup)

    limits = replace(QUICK, unissued_per_minute=1)
    async with asking(SimpleNamespace(answer=answer), limits, acme) as working:
        for number in range(20):
            await working.take(question(f"forged-{number}", verified=False), key=b"acme:b")
        await working.take(question("true", verified=True), key=b"acme:b")
        await until(lambda: "/batches/true" in paths, "the proven question")
    assert len(paths) <= 3


async def test_d3_senders_share_the_room_for_unissued_links() -> None:
    api = Api()
    api.gate.clear()
    async with asking(api, replace(QUICK, max_unissued=100)) as working:
        for sender, number in (("flood", 150), ("honest", 60), ("other", 34)):
            for each in range(number):
                value = request(f"{sender}-{each}", "PROCESSING", issued=False)
                await working.take(value, sender=sender)
        api.gate.set()
        await working.finished()
    calls = Counter(link.partition("-")[0] for link in api.requested)
    assert calls == {"flood": 100, "honest": 50, "other": 33}
    # They take turns: none waits for all the others.
    assert max(api.requested.index(link) for link in ("honest-0", "other-0")) <= 3


async def test_requests_are_acknowledged_without_credentials(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = Api()
    async with asking(api, provider=new_ipint(configured=False)) as working:
        for _ in range(3):
            await working.take(request("i1"))
        assert await working.finished() == []
    assert api.requested == []
    assert [r.message for r in caplog.records if "credentials" in r.message] == [
        "ipint: no credentials for its API, so nothing is looked up"
    ]


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b"", b"ipint:x"),
        (b"\x00\x00\x00\x00\x01junk", b"ipint:x"),
        (request("i1", provider="ping"), b"ipint:i1"),
        (request("i1", provider="acme"), b"acme:i1"),
        (b"junk", None),
    ],
)
async def test_broken_request_becomes_a_dead_letter_and_stops_nothing(
    value: bytes, key: bytes | None
) -> None:
    before = dead("BadRecord")
    async with asking(Api(i2=["COMPLETED"])) as working:
        await working.take(value, key)
        await working.take(request("i2", "PAID"))
        assert len(await working.finished()) == 1
        (letter,) = working.publisher.of("dead-letters")
    assert (letter.key, letter.value) == (key, value)
    assert (letter.headers["stage"], letter.headers["origin"]) == (b"lookup", b"lookups/0/0")
    assert letter.headers["reason"]
    assert dead("BadRecord") == before + 1


async def test_request_of_another_provider_is_left_to_its_consumer() -> None:
    async with asking(Api()) as working:
        await working.take(b"not even a record", b"ping:x")
        await working.finished()
        assert working.publisher.records == []


async def test_request_that_meets_a_defect_becomes_a_dead_letter() -> None:
    before = dead("ZeroDivisionError")
    async with asking(Api(i1=[ZeroDivisionError("a bug")])) as working:
        await working.take(request("i1"))
        await working.finished()
        (letter,) = working.publisher.of("dead-letters")
    assert b"a bug" in letter.headers["reason"]
    assert dead("ZeroDivisionError") == before + 1


async def test_schema_lookup_does_not_block_the_event_loop() -> None:
    api = Api()
    codecs, let_end = slow_registry(LOOKUP_REQUEST.text)
    async with asking(api, codecs=codecs) as working:
        value = with_foreign_id(request("a", reason="POLL"))
        await asyncio.gather(working.take(value), let_end())
        await working.finished()
    assert api.requested == ["a"]


async def test_record_that_moves_during_its_schema_lookup_is_no_dead_letter_here() -> None:
    codecs, let_end = slow_registry(LOOKUP_REQUEST.text)
    async with asking(Api(), codecs=codecs) as working:
        taking = asyncio.create_task(working.take(UNKNOWN_SCHEMA))
        await asyncio.sleep(0)  # now it looks the schema up
        working.tracker.live = False
        await asyncio.gather(taking, let_end())
        assert working.publisher.records == []
