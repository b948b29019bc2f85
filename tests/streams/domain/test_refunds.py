"""Refunds, reversals and disputes: properties for every set of facts, and examples."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.limits import REFUNDS
from schemas.records import LinkEvent, LinkStatus
from schemas.refund_records import Refund, RefundState
from streams.domain.link_status import fold
from streams.domain.rules import ProviderRules
from streams.domain.track import TrackOutcome, track
from tests.streams.domain.build import claim, event, in_turn, link_events, refund_facts, refunded

SELF = ProviderRules()
# TrueLayer: its callbacks name a refund without an amount, and its API tells it.
ANSWERS = ProviderRules(can_look_up=True, answers_refunds=True)
PAID = event("PAID", amount_minor=500, currency="EUR", payment_id="p1", payment_status="SETTLED")
OPEN = event("PROCESSING", amount_minor=500, currency="EUR")
DISPUTED = refunded("PENDING", kind="DISPUTE", refund_id="p1", reason="not me")
REVERSED = refunded("EXECUTED", kind="REVERSAL", refund_id="p1")

CHARGED_BACK = refunded("EXECUTED", 200, kind="CHARGEBACK")


def taken_back(
    amount: int | None, refund_id: str = "r2", state: RefundState = "EXECUTED"
) -> LinkEvent:
    """The bank gives money of a chargeback back to the merchant."""
    return refunded(state, amount, kind="CHARGEBACK_REVERSAL", refund_id=refund_id, payment_id=None)


facts = refund_facts().map(lambda fact: event("UNKNOWN", "refund", refund=fact, at=2_000))
some_facts = st.lists(facts, min_size=1, max_size=8)


def follow(events: list[LinkEvent], rules: ProviderRules = SELF) -> list[TrackOutcome]:
    return in_turn(track, events, rules)


def published(events: list[LinkEvent], rules: ProviderRules = SELF) -> list[Refund]:
    return [refund for outcome in follow(events, rules) for refund in outcome.refunds]


def money(row: LinkStatus) -> tuple[int | None, int | None, int | None]:
    return row["refunded_minor"], row["disputed_minor"], row["net_minor"]


@given(events=some_facts, data=st.data())
def test_order_and_repeats_change_neither_money_nor_anomalies(
    events: list[LinkEvent], data: st.DataObject
) -> None:
    events = [PAID, *events]
    shuffled = list(data.draw(st.permutations(events + events)))
    row, other = follow(events)[-1].row, follow(shuffled)[-1].row
    assert row["refunds"] == other["refunds"]
    assert money(row) == money(other)
    assert row["anomalies"] == other["anomalies"]


@pytest.mark.parametrize("rules", [SELF, ANSWERS])
@given(events=st.lists(link_events() | facts, min_size=1, max_size=8), data=st.data())
def test_last_event_of_each_refund_does_not_depend_on_order(
    rules: ProviderRules, events: list[LinkEvent], data: st.DataObject
) -> None:
    shuffled = list(data.draw(st.permutations(events)))

    def last(events: list[LinkEvent]) -> dict[tuple[str, str], str]:
        return {(r["refund_id"], r["kind"]): r["event_id"] for r in published(events, rules)}

    assert last(events) == last(shuffled)


@given(events=some_facts, data=st.data())
def test_each_refund_is_published_once_in_each_state_and_amount(
    events: list[LinkEvent], data: st.DataObject
) -> None:
    repeated = list(data.draw(st.permutations([PAID, *events, *events])))
    assert set(Counter(refund["event_id"] for refund in published(repeated)).values()) <= {1}


@given(events=some_facts)
def test_status_stays_paid_and_money_adds_up(events: list[LinkEvent]) -> None:
    row = follow([PAID, *events])[-1].row
    assert row["status"] == "PAID"
    refunded_minor, disputed, net = money(row)
    assert (net is None) == (refunded_minor is None)
    if net is not None and refunded_minor is not None:
        assert net + refunded_minor == 500
        assert ("REFUND_EXCEEDS_PAYMENT" in row["anomalies"]) == (net < 0)
    assert disputed is None or disputed >= 0


@given(events=some_facts)
def test_unverified_facts_change_nothing(events: list[LinkEvent]) -> None:
    claims = [{**each, "verified": False} for each in events]
    row = follow([PAID, *claims])[-1].row  # type: ignore[list-item]
    assert (row["refunds"], money(row)) == ([], (0, 0, 500))


# Events after the payment; state of the first refund; refunded, disputed, net; anomalies.
CASES: list[tuple[list[LinkEvent], str, tuple[int | None, int | None, int | None], list[str]]] = [
    ([refunded("PENDING", 100)], "PENDING", (0, 0, 500), []),
    ([refunded("EXECUTED", 500)], "EXECUTED", (500, 0, 0), []),
    ([refunded("EXECUTED", 100)], "EXECUTED", (100, 0, 400), []),
    ([refunded("EXECUTED")], "EXECUTED", (None, 0, None), []),
    ([refunded("EXECUTED"), refunded("EXECUTED", 100)], "EXECUTED", (100, 0, 400), []),
    (
        [refunded("EXECUTED", 100), refunded("EXECUTED", 200, refund_id="r2", kind="PAYOUT")],
        "EXECUTED",
        (300, 0, 200),
        [],
    ),
    ([refunded("FAILED", 100)], "FAILED", (0, 0, 500), ["REFUND_FAILED"]),
    (
        [refunded("FAILED"), refunded("EXECUTED", 100)],
        "RETURNED",
        (0, 0, 500),
        ["REFUND_FAILED"],
    ),
    ([refunded("RETURNED", 100)], "RETURNED", (0, 0, 500), ["REFUND_FAILED"]),
    (
        [refunded("EXECUTED", 600)],
        "EXECUTED",
        (600, 0, -100),
        ["REFUND_EXCEEDS_PAYMENT"],
    ),
    # Amounts of other currencies are not added.
    ([refunded("EXECUTED", 100, currency="SEK")], "EXECUTED", (None, 0, None), []),
    ([DISPUTED], "PENDING", (0, 500, 500), ["DISPUTED"]),
    # What was given back is not disputed any more.
    ([DISPUTED, refunded("EXECUTED", 300)], "PENDING", (300, 200, 200), ["DISPUTED"]),
    ([DISPUTED, refunded("EXECUTED", 500)], "PENDING", (500, 0, 0), ["DISPUTED"]),
    ([DISPUTED, REVERSED], "PENDING", (500, 0, 0), ["DISPUTED", "PAYMENT_REVERSED"]),
    (
        [refunded("EXECUTED", 200, kind="CHARGEBACK")],
        "EXECUTED",
        (200, 0, 300),
        ["DISPUTED"],
    ),
    (
        [refunded("EXECUTED", 200, kind="CHARGEBACK"), refunded("RETURNED", kind="CHARGEBACK")],
        "RETURNED",
        (0, 0, 500),
        ["DISPUTED"],
    ),
    ([CHARGED_BACK, taken_back(80)], "EXECUTED", (120, 0, 380), ["DISPUTED"]),
    ([taken_back(80), CHARGED_BACK, taken_back(70, "r3")], "EXECUTED", (50, 0, 450), ["DISPUTED"]),
    ([CHARGED_BACK, taken_back(None)], "EXECUTED", (0, 0, 500), ["DISPUTED"]),
    ([CHARGED_BACK, taken_back(80, state="PENDING")], "EXECUTED", (200, 0, 300), ["DISPUTED"]),
    ([taken_back(80)], "EXECUTED", (0, 0, 500), []),
    ([refunded("FAILED", 200, kind="CHARGEBACK")], "FAILED", (0, 0, 500), []),
    (
        [event("UNKNOWN", payment_id="p1", payment_status="FAILED", occurred_at=1_500)],
        "EXECUTED",
        (500, 0, 0),
        ["PAYMENT_REVERSED"],
    ),
]


@pytest.mark.parametrize(("events", "state", "expected", "anomalies"), CASES)
def test_row_of_example_facts(
    events: list[LinkEvent],
    state: str,
    expected: tuple[int | None, int | None, int | None],
    anomalies: list[str],
) -> None:
    for order in ([PAID, *events], [*reversed(events), PAID]):
        row = follow(order)[-1].row
        assert row["status"] == "PAID"
        assert (row["refunds"][0]["state"], money(row), row["anomalies"]) == (
            *(state, expected),
            anomalies,
        )


def test_second_payment_that_is_given_back_leaves_the_first() -> None:
    second = event("PAID", payment_id="p2", payment_status="SETTLED", amount_minor=500)
    row = follow([PAID, second, refunded("EXECUTED", 500, payment_id="p2")])[-1].row
    assert money(row) == (500, 0, 500)
    assert row["anomalies"] == ["SECOND_PAYMENT"]


def test_what_was_received_counts_where_the_provider_tells_it() -> None:
    overpaid = event("PAID", amount_minor=500, received_minor=650, currency="EUR")
    assert money(follow([overpaid, refunded("EXECUTED", 150)])[-1].row) == (150, 0, 500)


def test_unpaid_link_has_no_net_and_tells_nothing() -> None:
    outcome = follow([OPEN, refunded("EXECUTED", 100)])[-1]
    assert money(outcome.row) == (100, 0, None)
    assert outcome.refunds == ()
    (paid,) = track(outcome.row, PAID, SELF).refunds
    assert (paid["state"], paid["amount_minor"], paid["net_minor"]) == ("EXECUTED", 100, 400)


def test_reversal_of_an_authorisation_is_no_anomaly() -> None:
    row = follow([event("PROCESSING"), refunded("EXECUTED", 100, kind="REVERSAL")])[-1].row
    assert row["anomalies"] == []
    accepted = event("PROCESSING", payment_id="p1", payment_status="EXECUTED")
    assert follow([accepted, REVERSED])[-1].row["anomalies"] == ["PAYMENT_REVERSED"]


def test_event_tells_the_refund_and_what_remains_of_the_link() -> None:
    at_provider = {**refunded("EXECUTED", 100, at=9), "occurred_at": 7}
    (refund,) = published([PAID, at_provider])  # type: ignore[list-item]
    expected: dict[str, Any] = {
        "provider": "acme",
        "link_id": "L1",
        "order_id": "L1",
        "refund_id": "r1",
        "kind": "REFUND",
        "state": "EXECUTED",
        "payment_id": "p1",
        "amount_minor": 100,
        "currency": "EUR",
        "reason": None,
        "occurred_at": 7,
        "refunded_minor": 100,
        "disputed_minor": 0,
        "net_minor": 400,
        "at": 9,
    }
    assert {name: refund[name] for name in expected} == expected  # type: ignore[literal-required]
    assert refund.keys() == {"event_id", *expected}


def test_returned_refund_is_published_as_executed_and_then_as_returned() -> None:
    events = [PAID, refunded("EXECUTED", 100, at=5), refunded("FAILED", reason="returned", at=8)]
    executed, returned = published(events)
    assert (executed["state"], executed["net_minor"]) == ("EXECUTED", 400)
    assert (returned["state"], returned["net_minor"]) == ("RETURNED", 500)
    assert (returned["amount_minor"], returned["reason"]) == (100, "returned")
    assert returned["occurred_at"] == 8


def test_dispute_and_reversal_of_one_payment_are_two_events_of_the_whole_amount() -> None:
    disputed, reversed_ = published([PAID, DISPUTED, REVERSED])
    assert (disputed["kind"], disputed["amount_minor"]) == ("DISPUTE", 500)
    assert (disputed["disputed_minor"], disputed["net_minor"]) == (500, 500)
    assert (reversed_["kind"], reversed_["amount_minor"]) == ("REVERSAL", 500)
    assert (reversed_["disputed_minor"], reversed_["net_minor"]) == (0, 0)


def test_refund_waits_for_the_amount_that_it_has_asked_for() -> None:
    paid, waiting, answered = follow([PAID, refunded(), refunded("EXECUTED", 100)], ANSWERS)
    assert paid.refund_lookups == ()
    (lookup,) = waiting.refund_lookups
    assert (lookup["reason"], lookup["payment_id"], lookup["issued"]) == ("REFUND", "p1", True)
    assert lookup["refund"] == {"refund_id": "r1", "kind": "REFUND", "payment_id": "p1"}
    assert waiting.refunds == ()
    assert (waiting.row["refunds"][0]["state"], money(waiting.row)) == ("EXECUTED", (None, 0, None))
    assert [refund["amount_minor"] for refund in answered.refunds] == [100]
    assert answered.refund_lookups == ()


def test_refund_is_published_without_an_amount_that_the_provider_does_not_tell() -> None:
    unanswered = refunded("UNKNOWN")
    outcomes = follow([PAID, refunded(), unanswered, refunded("EXECUTED", 100)], ANSWERS)
    amounts = [[refund["amount_minor"] for refund in outcome.refunds] for outcome in outcomes]
    # A later answer corrects the event: the same refund and state, now with its amount.
    assert amounts == [[], [], [None], [100]]
    assert [outcome.refund_lookups for outcome in outcomes[2:]] == [(), ()]


@pytest.mark.parametrize(
    ("fact", "rules"),
    [
        (refunded(payment_id=None), ANSWERS),
        (refunded(), ProviderRules(answers_refunds=True)),
        (refunded(), ProviderRules(can_look_up=True)),
        (DISPUTED, ANSWERS),
    ],
    ids=["no payment", "no credentials", "no such API", "a dispute"],
)
def test_refund_that_cannot_be_looked_up_is_published_at_once(
    fact: LinkEvent, rules: ProviderRules
) -> None:
    outcome = follow([PAID, fact], rules)[-1]
    assert len(outcome.refunds) == 1
    assert outcome.refund_lookups == ()


def test_each_failed_refund_and_each_dispute_is_an_anomaly_of_its_own() -> None:
    events = [
        PAID,
        refunded("FAILED", 100, reason="insufficient_funds"),
        refunded("FAILED", 250, refund_id="r2"),
        refunded("EXECUTED", 250, refund_id="r2"),
        DISPUTED,
    ]
    anomalies = [a for outcome in follow(events) for a in outcome.anomalies]
    assert [(a["kind"], a["detail"].partition(" [")[0]) for a in anomalies] == [
        ("REFUND_FAILED", "refund r1 of 1.00 EUR failed: insufficient_funds"),
        ("REFUND_FAILED", "refund r2 of 2.50 EUR failed"),
        ("DISPUTED", "dispute p1 of 5.00 EUR: not me"),
    ]
    assert len({a["event_id"] for a in anomalies}) == 3


def test_refund_larger_than_the_payment_and_a_reversal_are_anomalies_with_their_evidence() -> None:
    events = [PAID, refunded("EXECUTED", 600), REVERSED]
    anomalies = [a for outcome in follow(events) for a in outcome.anomalies]
    assert [(a["kind"], a["detail"].partition(" [")[0]) for a in anomalies] == [
        ("REFUND_EXCEEDS_PAYMENT", "paid 5.00 EUR, refunded 6.00 EUR"),
        ("PAYMENT_REVERSED", "payments: p1 settled; reversed: p1"),
    ]


def test_claimed_refund_is_not_published() -> None:
    assert published([PAID, claim("UNKNOWN", refund=refunded()["refund"])]) == []


def test_link_has_at_most_so_many_refunds() -> None:
    row: LinkStatus | None = fold(None, PAID, SELF)
    for number in range(REFUNDS):
        row = fold(row, refunded("EXECUTED", 1, refund_id=f"r{number}"), SELF)
    assert row is not None
    assert row["refunded_minor"] == REFUNDS
    assert fold(row, refunded("FAILED", refund_id="r0"), SELF)["refunded_minor"] == REFUNDS - 1
    with pytest.raises(ValueError, match=f"already has {REFUNDS} refunds"):
        fold(row, refunded("EXECUTED", 1, refund_id="one more"), SELF)
