"""Lookups of the amounts of refunds: asked until the API tells them, and given up in time."""

import json
from collections.abc import Sequence
from dataclasses import replace

import httpx
import pytest

from connectors.providers import raw
from connectors.providers.truelayer import TrueLayer, TrueLayerConfig
from schemas.codec import LOOKUP_REQUEST
from schemas.records import LookupRequest
from schemas.refund_records import RefundState
from tests.connectors.lookup.harness import QUICK, Asking, asking
from tests.support.codecs import CODECS
from tests.support.fakes import Published

TOKEN = {"access_token": "a-token", "expires_in": 300}
NOTHING: dict[str, object] = {"items": []}


def refunds(*ids: str) -> dict[str, object]:
    items = [{"id": one, "status": "executed", "amount_in_minor": 40} for one in ids]
    return {"items": items}


def provider() -> TrueLayer:
    urls = {"api_url": "http://truelayer.test", "auth_url": "http://truelayer.test"}
    keys = {"client_id": "me", "client_secret": "s3cret"}
    return TrueLayer(TrueLayerConfig.model_validate({**urls, **keys}))


class Api:
    """TrueLayer's API: answers GET with these documents or HTTP statuses in turn, then with the
    last one again.
    """

    def __init__(self, *answers: dict[str, object] | int) -> None:
        self._answers = list(answers)
        self.requested: list[str] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, json=TOKEN)
        self.requested.append(request.url.path)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, int):
            return httpx.Response(answer)
        return httpx.Response(200, json=answer)


def request(refund_id: str = "r1", kind: str = "REFUND") -> bytes:
    record: LookupRequest = {
        "request_id": "r",
        "provider": "truelayer",
        "link_id": "L1",
        "reason": "REFUND",
        "claimed_status": None,
        "payment_id": "p1",
        "refund": {"refund_id": refund_id, "kind": kind, "payment_id": "p1"},  # type: ignore[typeddict-item]
        "issued": True,
        "requested_at": 1,
    }
    return CODECS.encode(LOOKUP_REQUEST, record)


async def finished(working: Asking) -> list[Published]:
    await working.end()
    return working.publisher.of("callbacks.truelayer")


def amounts(records: Sequence[Published]) -> list[list[tuple[str, RefundState, int | None]]]:
    """Return what our own reader finds in each record: refunds, their states and amounts."""
    found = []
    for record in records:
        headers = {name: value.decode() for name, value in record.headers.items()}
        facts = provider().read(raw.read("truelayer", record.value or b"", headers, "o", 1))
        refunds_ = [event["refund"] for event in facts.events if event["refund"]]
        found.append([(r["refund_id"], r["state"], r["amount_minor"]) for r in refunds_])
    return found


async def test_amount_is_asked_for_until_the_api_tells_it() -> None:
    api = Api(refunds("another"), 404, refunds("another", "r1"))
    async with asking(api, provider=provider()) as working:
        await working.take(request(), b"truelayer:L1")
        records = await finished(working)
    assert api.requested == ["/v3/payments/p1/refunds"] * 3
    assert records[0].key == b"truelayer:L1"
    assert records[0].headers["lookup-reason"] == b"REFUND"
    assert json.loads(records[0].headers["lookup-refund"]) == ["REFUND", "r1", "p1"]
    executed = [(one, "EXECUTED", 40) for one in ("another", "r1")]
    assert amounts(records) == [executed[:1], [], executed]


async def test_last_answer_without_the_amount_ends_the_wait() -> None:
    async with asking(Api(refunds("another")), provider=provider()) as working:
        await working.take(request(), b"truelayer:L1")
        records = await finished(working)
    another = ("another", "EXECUTED", 40)
    assert amounts(records) == [[another], [another], [another, ("r1", "UNKNOWN", None)]]


async def test_payout_has_a_path_of_its_own() -> None:
    api = Api({"id": "o1", "status": "executed", "amount_in_minor": 40})
    async with asking(api, provider=provider()) as working:
        await working.take(request("o1", "PAYOUT"), b"truelayer:L1")
        records = await finished(working)
    assert api.requested == ["/v3/payouts/o1"]
    assert amounts(records) == [[("o1", "EXECUTED", 40)]]


async def test_api_that_does_not_answer_in_time_ends_the_wait() -> None:
    limits = replace(QUICK, refund_for=0.0)
    async with asking(Api(503), limits, provider()) as working:
        await working.take(request(), b"truelayer:L1")
        records = await finished(working)
    assert [record.headers["lookup-status"] for record in records] == [b"504"]
    assert amounts(records) == [[("r1", "UNKNOWN", None)]]


async def test_api_that_is_away_for_a_while_is_asked_again() -> None:
    api = Api(503, 500, 429, refunds("r1"))
    async with asking(api, provider=provider()) as working:
        await working.take(request(), b"truelayer:L1")
        records = await finished(working)
    assert amounts(records) == [[("r1", "EXECUTED", 40)]]


async def test_each_refund_has_its_own_lookup_and_one_refund_only_one() -> None:
    api = Api(refunds("r1", "r2"))
    async with asking(api, provider=provider()) as working:
        for refund_id in ("r1", "r2", "r1"):
            await working.take(request(refund_id), b"truelayer:L1")
        records = await finished(working)
    assert len(records) == len(api.requested) == 2


@pytest.mark.parametrize(
    "header", [b"", b"[]", b"{}", b'["REFUND", "r1"]', b'["X", "r1", null]', b'["REFUND", "", 1]']
)
def test_header_of_another_program_names_no_refund(header: bytes) -> None:
    headers = {"lookup-link": "L1", "lookup-refund": header.decode()}
    assert raw.read("truelayer", b"{}", headers, "o", 1).refund is None
