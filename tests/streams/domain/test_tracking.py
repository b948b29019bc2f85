"""What follows from an event: questions, anomalies and what orders hear."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import LinkEvent, LinkStatus, Status
from streams.domain.rules import ProviderRules
from streams.domain.tracking import Tracked, track
from tests.streams.domain.build import event, link_events, registration

PING = ProviderRules(order_from="lookup", settlement="by_order", polls=True, can_look_up=True)
SELF = ProviderRules(can_look_up=True)
FOR_GOOD = ProviderRules(can_look_up=True, ends_for_good=True)


def followed(events: list[LinkEvent], rules: ProviderRules) -> list[Tracked]:
    row: LinkStatus | None = None
    outcomes = []
    for each in events:
        outcomes.append(track(row, each, rules))
        row = outcomes[-1].row
    return outcomes


@given(events=st.lists(link_events(), min_size=1, max_size=8))
def test_a_repeat_emits_nothing(events: list[LinkEvent]) -> None:
    last = followed(events, PING)[-1].row
    for each in events:
        assert track(last, each, PING) == Tracked(last)


@given(events=st.lists(link_events(), min_size=1, max_size=10), data=st.data())
def test_each_anomaly_is_told_once_with_one_id(
    events: list[LinkEvent], data: st.DataObject
) -> None:
    repeated = list(data.draw(st.permutations(events + events)))
    told = [a for outcome in followed(repeated, SELF) for a in outcome.anomalies]
    reported = [a["event_id"] for a in told]
    assert len(reported) == len(set(reported)) or {a["kind"] for a in told} & {"AMOUNT_MISMATCH"}


def test_a_new_claim_is_to_be_confirmed_once() -> None:
    claim = event("PAID", verified=False)
    first, repeat = followed([claim, {**claim, "received_at": 2_000}], PING)
    assert first.lookup is not None
    assert (first.lookup["reason"], first.lookup["claimed_status"]) == ("CLAIM", "PAID")
    assert not first.lookup["issued"]
    assert repeat.lookup is None


def test_a_claim_repeated_long_after_it_was_not_confirmed_is_asked_about_again() -> None:
    """Who forges a callback early must not keep the true one from being heard."""
    minute = 60_000_000
    claim = event("PAID", verified=False, at=minute)
    denied = event("PROCESSING", source="lookup", at=2 * minute, denies="PAID")
    soon, late = ({**claim, "received_at": 2 * minute + wait} for wait in (minute - 1, minute))
    events = [event("CREATED", source="poll"), claim, denied, soon, late]
    outcomes = followed(events, SELF)  # type: ignore[arg-type]
    asked = [outcome.lookup["reason"] if outcome.lookup else None for outcome in outcomes]
    assert asked == [None, "CLAIM", None, None, "CLAIM"]
    assert outcomes[4].row is outcomes[3].row
    for last in (event("FAILED", source="poll"), event("PROCESSING", coverage="UNDERPAID")):
        assert followed([*events[:3], last, late], SELF)[-1].lookup is None  # type: ignore[list-item]


def test_a_callback_of_what_a_poll_found_completed_asks_nothing() -> None:
    """iPint: the callback comes after we have seen COMPLETED, and then it is not to be queried."""
    underpaid = event("PROCESSING", "COMPLETED", source="poll", coverage="UNDERPAID")
    for claimed in ("PAID", "FAILED"):
        outcome = followed([underpaid, event(claimed, verified=False)], SELF)[1]
        assert outcome.lookup is None
        assert outcome.row["claims"].keys() == {claimed}


@pytest.mark.parametrize(
    ("ended", "claimed"), [("FAILED", "PAID"), ("CANCELLED", "PAID"), ("CANCELLED", "FAILED")]
)
def test_what_is_claimed_after_an_end_told_for_good_is_denied_unasked(
    ended: Status, claimed: Status
) -> None:
    """iPint: "If you get this status, do not query further"; yet a person hears of the claim."""
    told, claim = event(ended, source="lookup"), event(claimed, verified=False)
    _, outcome = followed([told, claim], FOR_GOOD)
    assert outcome.lookup is None
    assert (outcome.row["status"], outcome.row["claimed_status"]) == (ended, claimed)
    (anomaly,) = outcome.anomalies
    assert anomaly["kind"] == "CLAIM_DENIED"
    assert anomaly["detail"].startswith(
        f"claimed {claimed}, the provider had said {ended} for good"
    )
    # The claim that came first was asked about, and is denied by the answer: it ends the same.
    answered = followed([claim, {**told, "denies": claimed}], FOR_GOOD)[-1].row
    assert answered["anomalies"] == outcome.row["anomalies"]
    # Repeated for days, it is still not asked about.
    again: LinkEvent = {**claim, "received_at": 86_400_000_000}
    assert followed([told, claim, again], FOR_GOOD)[-1] == Tracked(outcome.row)
    assert followed([told, claim], SELF)[1].lookup is not None


def test_an_end_told_for_good_is_confirmed_by_its_callback_and_nothing_more() -> None:
    for status in ("FAILED", "PAID"):
        told, claim = event(status, source="lookup"), event(status, verified=False)
        for order in ([told, claim], [claim, told]):
            assert followed(order, FOR_GOOD)[-1].row["anomalies"] == []


def test_an_invented_claim_repeated_is_not_asked_about_again() -> None:
    claim = event("PAID", verified=False)
    denied = event("UNKNOWN", "not found", source="lookup", denies="PAID")
    again = {**claim, "received_at": 86_400_000_000}
    assert followed([claim, denied, again], SELF)[-1].lookup is None  # type: ignore[list-item]


def test_a_claim_behind_what_is_verified_asks_nothing() -> None:
    outcome = followed([event("PAID"), event("OPENED", verified=False)], SELF)[1]
    assert outcome.lookup is None


def test_a_paid_link_without_its_amount_is_looked_up() -> None:
    outcome = followed([event("PAID")], SELF)[0]
    assert outcome.lookup is not None
    assert outcome.lookup["reason"] == "DETAILS"
    known = followed([event("PAID", amount_minor=5, currency="EUR")], SELF)[0]
    assert known.lookup is None


def test_nothing_is_asked_of_a_provider_without_credentials() -> None:
    rules = ProviderRules(can_look_up=False)
    assert followed([event("PAID", verified=False)], rules)[0].lookup is None


def test_a_link_of_its_own_is_told_to_its_order_only_when_paid() -> None:
    opened, paid = followed([event("OPENED"), event("PAID")], SELF)
    assert opened.orders == ()
    assert [o["order_id"] for o in paid.orders] == ["L1"]


def test_a_registered_order_hears_of_its_open_link() -> None:
    (outcome,) = followed([registration("O1", links_in_order=2)], SELF)
    (heard,) = outcome.orders
    assert heard["link"] is not None
    assert (heard["order_id"], heard["link"]["status"], heard["links_in_order"]) == (
        "O1",
        "CREATED",
        2,
    )


def test_an_order_awaited_from_the_lookup_hears_nothing_before() -> None:
    claim, answer = followed(
        [
            event("PAID", verified=False),
            event(
                "PAID",
                source="lookup",
                order_id="P1",
                payment_id="x",
                payment_status="PAID",
                amount_minor=14000,
                currency="SEK",
            ),
        ],
        PING,
    )
    assert claim.orders == ()
    (heard,) = answer.orders
    assert heard["order_id"] == "P1"
    assert heard["link"] is not None
    assert heard["link"]["amount_minor"] == 14000


def test_a_link_that_changes_its_order_leaves_the_old_one() -> None:
    _, moved = followed([registration("O1"), registration("O2", at=2)], SELF)
    left, joined = moved.orders
    assert (left["order_id"], left["left_link_id"]) == ("O1", "L1")
    assert (joined["order_id"], joined["left_link_id"]) == ("O2", None)


def test_evidence_tells_amounts_as_people_read_them() -> None:
    """In minor units they were read a hundred times too high."""
    agreed = registration(amount_minor=1_250, currency="ZAR")
    paid = event("PAID", at=2, amount_minor=123_456, received_minor=123_400, currency="ZAR")
    row = followed([agreed, paid], SELF)[-1].row
    under = event("PROCESSING", at=3, coverage="UNDERPAID", amount_minor=1_000, currency="JPY")
    told = {
        one["kind"]: one["detail"]
        for outcome in (*followed([agreed, paid], SELF), *followed([under], SELF))
        for one in outcome.anomalies
    }
    assert row["status"] == "PAID"
    assert "registered 12.50 ZAR, paid 1,234.56 ZAR" in told["AMOUNT_MISMATCH"]
    assert "asked 1,000 JPY, received an unknown amount" in told["UNDERPAID"]


def test_evidence_of_a_payment_taken_back_is_in_words() -> None:
    seen = [
        event("PROCESSING", at=at, payment_id="p1", payment_status=word)
        for at, word in enumerate(("EXECUTED", "FAILED"))
    ]
    (told,) = [one for outcome in followed(seen, SELF) for one in outcome.anomalies]
    assert told["detail"].startswith("payments: p1 executed, failed [")
