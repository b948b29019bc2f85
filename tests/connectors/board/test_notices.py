"""Notices: a claim until the provider answers, and shown without secrets."""

import pytest

from schemas import topics
from tests.connectors.board.conftest import Site


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"status": "not found"}, "not found"),
        ({"status": "completed"}, "completed"),
        ({"verified": False}, None),
        ({"subject_id": "batch-2"}, None),
        ({"provider": "ping"}, None),
        ({"kind": "refund_lookup"}, None),
    ],
    ids=["denied", "confirmed", "forged answer", "other batch", "other provider", "other kind"],
)
async def test_d5_unsigned_notice_is_a_claim_until_the_providers_answer(
    site: Site, changes: dict[str, str], answer: str | None
) -> None:
    make = site.make
    claim = {**make.notice("claim"), "kind": "batch", "verified": False}
    notice = {**make.notice("a"), "kind": "batch_lookup", "verified": True, "status": "not found"}
    site.put(topics.NOTICES, claim, {**notice, **changes})
    listed = (await site.get("/notices"))["notices"]
    assert {n["event_id"]: n["answer"] for n in listed} == {"claim": answer, "a": None}
    page = await site.page("/notices")
    assert (f"unsigned; the provider answers “{answer}”" in page) is (answer is not None)
    assert page.count('class="claim">unsigned') == sum(not n["verified"] for n in listed)


async def test_notices_are_shown_without_secrets(site: Site) -> None:
    probe = {**site.make.notice("n2"), "attributes": {"client_secret": "s3cret", "mode": "live"}}
    site.put(topics.NOTICES, site.make.notice("n1"), probe)
    shown = await site.page("/notices")
    for word in ("batch-1", "completed", "2 fields", "mode: live", "•••"):
        assert word in shown
    assert "s3cret" not in shown
    page = await site.get("/notices?provider=peach&limit=1")
    assert [one["event_id"] for one in page["notices"]] == ["n2"]
    rest = await site.get(f"/notices?cursor={page['next']}")
    assert [one["event_id"] for one in rest["notices"]] == ["n1"]
    assert "No notices." in await site.page("/notices?provider=ping")
