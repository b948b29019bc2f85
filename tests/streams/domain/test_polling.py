"""The passage of time, without a clock."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import ENDED, LinkStatus, Status
from streams.domain.link import fold
from streams.domain.polling import SECOND, Intervals, due_at, mark_stale, stale_at, stale_evidence
from streams.domain.rules import ProviderRules
from tests.streams.domain.build import STATUSES, event, registration

POLLED = ProviderRules(polls=True, can_look_up=True)
INTERVALS = Intervals()
DAY = 86_400 * SECOND


def row(status: Status = "CREATED", **said: Any) -> LinkStatus:
    return fold(None, event(status, at=0), POLLED) | said  # type: ignore[return-value]


def is_soon_after(at: int, due: int | None) -> bool:
    """Whether it is due after the first wait, and the little by which links are spread."""
    return due is not None and at + INTERVALS.first <= due <= at + INTERVALS.first * 5 // 4


@given(status=st.sampled_from(STATUSES), silent=st.integers(0, 40 * DAY))
def test_the_wait_grows_within_bounds_and_ends_with_the_link(status: Status, silent: int) -> None:
    due = due_at(row(status, looked_up_at=silent), POLLED, INTERVALS)
    if status in ENDED or status == "UNKNOWN":
        assert due is None
    else:
        assert due is not None
        assert INTERVALS.first <= due - silent <= INTERVALS.longest


def test_an_old_link_that_was_just_heard_of_is_asked_about_soon() -> None:
    link = row(looked_up_at=10 * DAY)
    due = due_at(link, POLLED, INTERVALS)
    assert due is not None
    assert 10 * DAY + DAY * 4 // 5 <= due <= 11 * DAY
    claim = event("PAID", at=10 * DAY, verified=False)
    too_early = event("CREATED", at=10 * DAY + 4 * SECOND, source="lookup", denies="PAID")
    link = fold(fold(link, claim, POLLED), too_early, POLLED)
    assert is_soon_after(10 * DAY + 4 * SECOND, due_at(link, POLLED, INTERVALS))


def test_news_since_the_last_question_bring_the_next_one_forward() -> None:
    link = row(looked_up_at=10 * DAY)
    moved = fold(link, event("PROCESSING", at=10 * DAY + 3600 * SECOND), POLLED)
    assert is_soon_after(10 * DAY + 3600 * SECOND, due_at(moved, POLLED, INTERVALS))


def test_what_is_said_of_the_future_does_not_hurry_us() -> None:
    link = row(looked_up_at=10 * DAY, claims={"PAID": 70_000 * DAY})
    due = due_at(link, POLLED, INTERVALS)
    assert due is not None
    assert 10 * DAY + DAY * 4 // 5 <= due <= 11 * DAY


def test_thirty_days_of_silence_are_a_bounded_number_of_questions() -> None:
    link, asked = row(), 0
    while (due := due_at(link, POLLED, INTERVALS)) is not None and due < 30 * DAY:
        link["looked_up_at"] = due
        asked += 1
    assert 40 < asked < 60


def test_links_of_one_moment_are_not_asked_about_at_one_moment() -> None:
    def due(link_id: str) -> int | None:
        link = fold(None, event("CREATED", at=0, link_id=link_id), POLLED)
        return due_at(link, POLLED, INTERVALS)

    moments = [due(f"link-{number}") for number in range(200)]
    assert len(set(moments)) > 100
    assert moments == [due(f"link-{number}") for number in range(200)]


def test_a_link_is_asked_about_soon_after_its_expiry() -> None:
    link = row(looked_up_at=DAY)
    link["registration"] = registration(expires_at=DAY + 3600 * SECOND)["registration"]
    assert due_at(link, POLLED, INTERVALS) == DAY + 3660 * SECOND


def test_a_provider_that_is_not_polled_is_asked_only_about_claims() -> None:
    rules = ProviderRules(polls=False, can_look_up=True)
    assert due_at(row(), rules, INTERVALS) is None
    assert due_at(row(claimed_status="PAID"), rules, INTERVALS) is not None
    denied = row(claimed_status="PAID", anomalies=["CLAIM_DENIED"])
    assert due_at(denied, rules, INTERVALS) is None


def test_a_forged_link_that_the_provider_denied_is_not_asked_about_again() -> None:
    claim = fold(None, event("PAID", verified=False), POLLED)
    assert due_at(claim, POLLED, INTERVALS) is not None
    denied = fold(claim, event("UNKNOWN", "not found", source="lookup", denies="PAID"), POLLED)
    assert due_at(denied, POLLED, INTERVALS) is None


@given(claimed=st.sampled_from([s for s in STATUSES if s not in ENDED and s != "UNKNOWN"]))
def test_an_invented_link_that_claims_no_ending_is_asked_about_until_it_is_answered(
    claimed: Status,
) -> None:
    claim = fold(None, event(claimed, verified=False), POLLED)
    assert due_at(claim, POLLED, INTERVALS) is not None
    answered = fold(claim, event("UNKNOWN", "not found", source="lookup"), POLLED)
    assert due_at(answered, POLLED, INTERVALS) is None
    # Had the provider known it, it would be a link like any other.
    known = fold(claim, event("CREATED", source="lookup"), POLLED)
    assert due_at(known, POLLED, INTERVALS) is not None


@pytest.mark.parametrize("coverage", ["UNDERPAID", "UNKNOWN"])
def test_a_link_completed_without_being_paid_is_not_asked_about_again(coverage: str) -> None:
    assert due_at(row("PROCESSING", coverage=coverage), POLLED, INTERVALS) is None


def test_an_open_link_well_past_its_expiry_is_stale_once() -> None:
    link = row()
    assert stale_at(link, INTERVALS) is None
    link["registration"] = registration(expires_at=DAY)["registration"]
    assert stale_at(link, INTERVALS) == DAY + INTERVALS.stale_after
    assert stale_at(mark_stale(link, 2 * DAY), INTERVALS) is None


@given(status=st.sampled_from(sorted(ENDED)))
def test_a_link_that_has_ended_is_never_stale(status: Status) -> None:
    link = row(status)
    link["registration"] = registration(expires_at=DAY)["registration"]
    assert stale_at(link, INTERVALS) is None


@pytest.mark.parametrize("coverage", ["UNDERPAID", "UNKNOWN"])
def test_a_link_completed_without_being_paid_is_not_stale(coverage: str) -> None:
    """The provider has not been silent: it told all it has to tell."""
    link = row("PROCESSING", coverage=coverage)
    link["registration"] = registration(expires_at=DAY)["registration"]
    assert stale_at(link, INTERVALS) is None


def test_the_evidence_says_when_the_provider_last_answered() -> None:
    link = row(looked_up_at=2 * DAY)
    link["registration"] = registration(expires_at=DAY)["registration"]
    assert stale_evidence(link) == (
        "expired at 1970-01-02T00:00:00Z and still CREATED; last asked 1970-01-03T00:00:00Z"
    )
