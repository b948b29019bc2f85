"""When silent links are looked up again, and when they are stale; without a clock."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import ENDED, LinkStatus, Status
from streams.domain.link_status import fold
from streams.domain.polling import (
    SECOND,
    Intervals,
    mark_stale,
    next_lookup_at,
    stale_at,
    stale_evidence,
)
from streams.domain.rules import ProviderRules
from tests.streams.domain.build import STATUSES, claim, event, registration

POLLED = ProviderRules(polling=True, can_look_up=True)
INTERVALS = Intervals()
HOUR = 3600 * SECOND
DAY = 24 * HOUR
NOT_FOUND = event("UNKNOWN", "not found", source="lookup")


def row(status: Status = "CREATED", expires_at: int | None = None, **fields: Any) -> LinkStatus:
    if expires_at is not None:
        fields["registration"] = registration(expires_at=expires_at)["registration"]
    return fold(None, event(status, at=0), POLLED) | fields  # type: ignore[return-value]


def due(link: LinkStatus, rules: ProviderRules = POLLED) -> int | None:
    return next_lookup_at(link, rules, INTERVALS)


def is_soon_after(at: int, due_at: int | None) -> bool:
    """Whether the lookup is due after the first interval, and up to a quarter more."""
    return due_at is not None and at + INTERVALS.first <= due_at <= at + INTERVALS.first * 5 // 4


def is_most_of_a_day_after(at: int, due_at: int | None) -> bool:
    return due_at is not None and at + DAY * 4 // 5 <= due_at <= at + DAY


@given(status=st.sampled_from(STATUSES), silent=st.integers(0, 40 * DAY))
def test_wait_stays_within_the_intervals_and_ends_with_the_link(
    status: Status, silent: int
) -> None:
    due_at = due(row(status, looked_up_at=silent))
    if status in ENDED or status == "UNKNOWN":
        assert due_at is None
    else:
        assert due_at is not None
        assert INTERVALS.first <= due_at - silent <= INTERVALS.longest


def test_old_link_with_a_new_claim_is_looked_up_soon() -> None:
    link = row(looked_up_at=10 * DAY)
    assert is_most_of_a_day_after(10 * DAY, due(link))
    early = event("CREATED", at=10 * DAY + 4 * SECOND, source="lookup", denies="PAID")
    link = fold(fold(link, claim("PAID", at=10 * DAY), POLLED), early, POLLED)
    assert is_soon_after(10 * DAY + 4 * SECOND, due(link))


def test_news_after_the_last_lookup_brings_the_next_one_forward() -> None:
    moved = fold(row(looked_up_at=10 * DAY), event("PROCESSING", at=10 * DAY + HOUR), POLLED)
    assert is_soon_after(10 * DAY + HOUR, due(moved))


def test_claim_with_a_future_time_does_not_bring_the_lookup_forward() -> None:
    link = row(looked_up_at=10 * DAY, claims={"PAID": 70_000 * DAY})
    assert is_most_of_a_day_after(10 * DAY, due(link))


def test_thirty_days_of_silence_cause_a_bounded_number_of_lookups() -> None:
    link, lookups = row(), 0
    while (due_at := due(link)) is not None and due_at < 30 * DAY:
        link["looked_up_at"] = due_at
        lookups += 1
    assert 40 < lookups < 60


def test_links_created_together_are_looked_up_at_different_fixed_times() -> None:
    links = [event("CREATED", at=0, link_id=f"link-{number}") for number in range(200)]
    first, second = ([due(fold(None, link, POLLED)) for link in links] for _ in range(2))
    assert len(set(first)) > 100
    assert first == second


def test_link_is_looked_up_soon_after_its_expiry() -> None:
    assert due(row(looked_up_at=DAY, expires_at=DAY + HOUR)) == DAY + HOUR + 60 * SECOND


def test_provider_without_polling_is_asked_only_about_open_claims() -> None:
    rules = ProviderRules(polling=False, can_look_up=True)
    assert due(row(), rules) is None
    assert due(row(claimed_status="PAID"), rules) is not None
    assert due(row(claimed_status="PAID", anomalies=["CLAIM_DENIED"]), rules) is None


def test_invented_link_that_the_provider_denied_is_not_looked_up_again() -> None:
    claimed = fold(None, claim("PAID"), POLLED)
    assert due(claimed) is not None
    assert due(fold(claimed, {**NOT_FOUND, "denies": "PAID"}, POLLED)) is None


@given(status=st.sampled_from([s for s in STATUSES if s not in ENDED and s != "UNKNOWN"]))
def test_invented_link_that_claims_no_ending_is_looked_up_until_the_first_answer(
    status: Status,
) -> None:
    claimed = fold(None, claim(status), POLLED)
    assert due(claimed) is not None
    assert due(fold(claimed, NOT_FOUND, POLLED)) is None
    # A link that the provider knows is polled like any other.
    assert due(fold(claimed, event("CREATED", source="lookup"), POLLED)) is not None


@pytest.mark.parametrize("coverage", ["UNDERPAID", "UNKNOWN"])
def test_link_completed_without_enough_money_is_neither_looked_up_nor_stale(coverage: str) -> None:
    link = row("PROCESSING", expires_at=DAY, coverage=coverage)
    assert (due(link), stale_at(link, INTERVALS)) == (None, None)


def test_open_link_well_past_its_expiry_is_stale_once() -> None:
    assert stale_at(row(), INTERVALS) is None
    link = row(expires_at=DAY)
    assert stale_at(link, INTERVALS) == DAY + INTERVALS.stale_after
    assert stale_at(mark_stale(link, 2 * DAY), INTERVALS) is None


@pytest.mark.parametrize("status", sorted(ENDED))
def test_ended_link_is_never_stale(status: Status) -> None:
    assert stale_at(row(status, expires_at=DAY), INTERVALS) is None


def test_stale_evidence_tells_why_the_link_is_not_paid() -> None:
    stale = row(status="PROCESSING", reason="authorised only", expires_at=DAY)
    assert "and still PROCESSING (authorised only); " in stale_evidence(stale)


def test_stale_evidence_tells_when_the_provider_last_answered() -> None:
    assert stale_evidence(row(looked_up_at=2 * DAY, expires_at=DAY)) == (
        "expired at 1970-01-02T00:00:00Z and still CREATED; "
        "last lookup answered 1970-01-03T00:00:00Z"
    )
