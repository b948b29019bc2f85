"""What follows from an event: lookups, anomalies and news for orders."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import LinkEvent, Status
from streams.domain.polling import SECOND, Intervals, next_lookup_at
from streams.domain.rules import ProviderRules
from streams.domain.track import TrackOutcome, track
from tests.streams.domain.build import (
    claim,
    event,
    in_turn,
    link_events,
    registration,
    registrations,
)

PING = ProviderRules(order_from="lookup", settlement="by_order", polling=True, can_look_up=True)
SELF = ProviderRules(can_look_up=True)
FINAL = ProviderRules(can_look_up=True, final_after_end=True)

MINUTE = 60_000_000
DAY = 1440 * MINUTE


def follow(events: list[LinkEvent], rules: ProviderRules = SELF) -> list[TrackOutcome]:
    return in_turn(track, events, rules)


def again(event: LinkEvent, at: int = DAY) -> LinkEvent:
    return {**event, "received_at": at}


@given(events=st.lists(link_events(), min_size=1, max_size=8))
def test_repeated_event_emits_nothing(events: list[LinkEvent]) -> None:
    row = follow(events, PING)[-1].row
    for each in events:
        assert track(row, each, PING) == TrackOutcome(row)


@given(events=st.lists(link_events(), min_size=1, max_size=10), data=st.data())
def test_each_anomaly_is_raised_once(events: list[LinkEvent], data: st.DataObject) -> None:
    repeated = list(data.draw(st.permutations(events + events)))
    anomalies = [a for outcome in follow(repeated) for a in outcome.anomalies]
    ids = {a["event_id"] for a in anomalies}
    assert len(anomalies) == len(ids) or {a["kind"] for a in anomalies} & {"AMOUNT_MISMATCH"}


def test_new_claim_is_looked_up_once() -> None:
    first, repeat = follow([claim("PAID"), claim("PAID", at=2_000)], PING)
    assert first.lookup is not None
    assert (first.lookup["reason"], first.lookup["claimed_status"]) == ("CLAIM", "PAID")
    assert not first.lookup["issued"]
    assert repeat.lookup is None


def test_claim_repeated_long_after_a_denial_is_looked_up_again() -> None:
    """A forged early callback must not hide the true one."""
    denied = event("PROCESSING", source="lookup", at=2 * MINUTE, denies="PAID")
    soon, late = (claim("PAID", at=2 * MINUTE + wait) for wait in (MINUTE - 1, MINUTE))
    known = [event("CREATED", source="poll"), claim("PAID", at=MINUTE), denied]
    outcomes = follow([*known, soon, late])
    reasons = [outcome.lookup["reason"] if outcome.lookup else None for outcome in outcomes]
    assert reasons == [None, "CLAIM", None, None, "CLAIM"]
    assert outcomes[4].row["times"] == outcomes[3].row["times"]
    for end in (event("FAILED", source="poll"), event("PROCESSING", coverage="UNDERPAID")):
        assert follow([*known, end, late])[-1].lookup is None


@pytest.mark.parametrize("claimed", ["PAID", "FAILED"])
def test_claim_for_a_completed_link_causes_no_lookup(claimed: Status) -> None:
    """iPint forbids lookups after COMPLETED, and its callback can come after our poll."""
    underpaid = event("PROCESSING", "COMPLETED", source="poll", coverage="UNDERPAID")
    outcome = follow([underpaid, claim(claimed)])[1]
    assert outcome.lookup is None
    assert outcome.row["claims"].keys() == {claimed}


@pytest.mark.parametrize(
    ("ended", "claimed"), [("FAILED", "PAID"), ("CANCELLED", "PAID"), ("CANCELLED", "FAILED")]
)
def test_claim_after_a_final_end_is_an_anomaly_without_lookup(
    ended: Status, claimed: Status
) -> None:
    """iPint: "If you get this status, do not query further". A person still learns of the claim."""
    end, late = event(ended, source="lookup"), claim(claimed)
    _, outcome = follow([end, late], FINAL)
    assert outcome.lookup is None
    assert (outcome.row["status"], outcome.row["claimed_status"]) == (ended, claimed)
    (anomaly,) = outcome.anomalies
    assert anomaly["kind"] == "CLAIM_DENIED"
    assert anomaly["detail"].startswith(
        f"claimed {claimed} after the provider's final status {ended}"
    )
    # The same claim, if it comes first, is looked up and denied: the row has the same anomaly.
    denied = follow([late, {**end, "denies": claimed}], FINAL)[-1].row
    assert denied["anomalies"] == outcome.row["anomalies"]
    assert follow([end, late, again(late)], FINAL)[-1] == TrackOutcome(outcome.row)
    assert follow([end, late], SELF)[1].lookup is not None


@pytest.mark.parametrize("status", ["FAILED", "PAID"])
def test_claim_that_confirms_a_final_end_is_no_anomaly(status: Status) -> None:
    end = event(status, source="lookup")
    for events in ([end, claim(status)], [claim(status), end]):
        assert follow(events, FINAL)[-1].row["anomalies"] == []


NOT_FOUND = event("UNKNOWN", "not found", source="lookup", denies="PAID")
REGISTERED = registration(amount_minor=500, currency="EUR")


@pytest.mark.parametrize(
    ("events", "rules", "reason"),
    [
        # The link of a repeated claim was never issued: it is asked about at a bounded rate.
        ([claim("PAID"), NOT_FOUND, again(claim("PAID"))], SELF, "CLAIM"),
        ([claim("PAID"), NOT_FOUND, again(claim("PAID"), MINUTE - 1)], SELF, None),
        # The claim is below the verified status.
        ([event("PAID"), claim("OPENED")], SELF, None),
        ([event("PAID")], SELF, "DETAILS"),
        ([event("PAID", amount_minor=5, currency="EUR")], SELF, None),
        ([event("PAID", amount_minor=5)], SELF, "DETAILS"),
        # A registration tells what was asked of the payer, not what the payer paid.
        ([REGISTERED, event("PAID")], SELF, "DETAILS"),
        # A lookup before the payment could not tell its amount.
        ([event("CREATED", source="poll"), event("PAID")], SELF, "DETAILS"),
        ([event("PAID", source="poll")], SELF, None),
        ([claim("PAID")], ProviderRules(can_look_up=False), None),
    ],
)
def test_lookup_after_the_last_event(
    events: list[LinkEvent], rules: ProviderRules, reason: str | None
) -> None:
    lookup = follow(events, rules)[-1].lookup
    assert (lookup and lookup["reason"]) == reason


SIGNED_FOR_ALL = ProviderRules(can_look_up=True, polling=True, signs_for_all=True)


def test_d1_signed_event_of_an_unknown_link_is_held_until_a_lookup_finds_the_link() -> None:
    signed = event("PAID", "disabled/fulfilled", payment_id="p1", payment_status="PAID")
    (held,) = follow([signed], SIGNED_FOR_ALL)
    assert (held.row["status"], held.row["claimed_status"]) == ("UNKNOWN", "PAID")
    assert held.orders == ()
    assert held.lookup is not None
    assert (held.lookup["reason"], held.lookup["claimed_status"]) == ("CLAIM", "PAID")
    foreign = follow([signed, NOT_FOUND], SIGNED_FOR_ALL)[-1]
    assert (foreign.row["status"], foreign.orders) == ("UNKNOWN", ())
    assert [a["kind"] for a in foreign.anomalies] == ["CLAIM_DENIED"]
    for proof in (event("PROCESSING", source="lookup"), registration("O1")):
        ours = follow([signed, proof], SIGNED_FOR_ALL)[-1]
        assert (ours.row["status"], ours.row["payment_id"]) == ("PAID", "p1")
        assert [o["link"] and o["link"]["status"] for o in ours.orders] == ["PAID"]
        assert ours.row["held"] == []


def test_d1_repeats_of_a_held_event_do_not_take_the_place_of_another() -> None:
    """Seen when a slow machine let a provider send each event again and again."""
    events = [event("PROCESSING", f"status {n}", payment_id="p1") for n in range(3)]
    repeats = [again(e, at=n) for n in range(20) for e in events]
    held = follow(repeats, SIGNED_FOR_ALL)[-1].row["held"]
    assert {e["event_id"] for e in held} == {e["event_id"] for e in events}
    assert {e["received_at"] for e in held} == {0}


def test_d1_repeated_claim_that_is_held_is_looked_up_again() -> None:
    signed = event("PAID", payment_id="p1")
    last = follow([signed, NOT_FOUND, again(signed)], SIGNED_FOR_ALL)[-1]
    assert last.lookup is not None
    assert last.row["claimed_at"] == again(signed)["received_at"]


def test_d1_paid_and_then_not_found_is_an_anomaly_until_a_lookup_confirms() -> None:
    """The path token is set, so the signed event counts at once."""
    paid, denied = follow([event("PAID"), NOT_FOUND])
    assert paid.lookup is not None
    assert (paid.lookup["reason"], paid.lookup["claimed_status"]) == ("DETAILS", "PAID")
    assert denied.row["status"] == "PAID"
    assert [a["kind"] for a in denied.anomalies] == ["CLAIM_DENIED"]
    assert "not found" in denied.anomalies[0]["detail"]
    confirmed = follow([event("PAID"), NOT_FOUND, event("PAID", source="lookup")])[-1]
    assert confirmed.row["anomalies"] == []


def test_d2_denied_claim_is_taken_back_once_the_provider_confirms_it() -> None:
    events = [claim("PAID"), NOT_FOUND, event("PAID", source="lookup", at=DAY)]
    assert follow(events)[1].row["anomalies"] == ["CLAIM_DENIED"]
    assert follow(events)[2].row["anomalies"] == []


def test_d2_payment_that_is_proven_after_a_denial_is_looked_up_again() -> None:
    lookup = follow([claim("PAID"), NOT_FOUND, event("PAID", amount_minor=5)])[-1].lookup
    assert lookup is not None
    assert (lookup["reason"], lookup["claimed_status"]) == ("DETAILS", "PAID")


def test_d4_claim_repeated_soon_is_looked_up_when_the_wait_ends() -> None:
    forged, true = claim("PAID", at=SECOND), claim("PAID", at=25 * SECOND)
    denied = event("UNKNOWN", "not found", source="lookup", at=4 * SECOND, denies="PAID")
    outcomes = follow([forged, denied, true])
    assert outcomes[2].lookup is None
    assert next_lookup_at(outcomes[1].row, SELF, Intervals()) is None
    assert next_lookup_at(outcomes[2].row, SELF, Intervals()) == 64 * SECOND
    answered = event("UNKNOWN", "not found", source="poll", at=65 * SECOND)
    assert (
        next_lookup_at(follow([forged, denied, true, answered])[-1].row, SELF, Intervals()) is None
    )


def test_link_that_is_its_own_order_is_sent_to_it_only_when_paid() -> None:
    opened, paid = follow([event("OPENED"), event("PAID")])
    assert opened.orders == ()
    assert [o["order_id"] for o in paid.orders] == ["L1"]


def test_registered_order_gets_its_open_link() -> None:
    (outcome,) = follow([registration("O1", links_in_order=2)])
    (sent,) = outcome.orders
    assert sent["link"] is not None
    assert (sent["order_id"], sent["link"]["status"]) == ("O1", "CREATED")
    assert sent["link"]["links_in_order"] == 2


@given(events=st.lists(st.one_of(link_events(), registrations()), min_size=1, max_size=8))
def test_times_of_news_for_orders_never_go_back(events: list[LinkEvent]) -> None:
    """A registration that is read after the payment closes no order before the payment."""
    times = [news["at"] for outcome in follow(events) for news in outcome.orders]
    assert times == sorted(times)


def test_order_that_a_lookup_names_gets_nothing_before_the_lookup() -> None:
    payment: Any = {"payment_id": "x", "payment_status": "PAID", "amount_minor": 14000}
    looked_up = event("PAID", source="lookup", order_id="P1", currency="SEK", **payment)
    claimed, answered = follow([claim("PAID"), looked_up], PING)
    assert claimed.orders == ()
    (sent,) = answered.orders
    assert sent["order_id"] == "P1"
    assert sent["link"] is not None
    assert sent["link"]["amount_minor"] == 14000


ANSWERED = event("PAID", source="lookup", amount_minor=700, currency="EUR")


@pytest.mark.parametrize(
    ("events", "amount", "awaits"),
    [
        ([event("PAID")], (None, None), True),
        ([event("CREATED", source="poll"), event("PAID")], (None, None), True),
        ([REGISTERED, event("PAID")], (500, "EUR"), True),
        ([event("PAID"), NOT_FOUND], (None, None), True),
        ([event("PAID"), ANSWERED], (700, "EUR"), False),
        ([REGISTERED, event("PAID"), ANSWERED], (700, "EUR"), False),
        # The provider has confirmed the payment, and does not tell its amount, or not whole.
        ([event("PAID"), event("PAID", source="lookup")], (None, None), False),
        ([event("PAID", source="poll", amount_minor=700)], (None, None), False),
        ([REGISTERED, event("PAID", source="poll", amount_minor=700)], (700, "EUR"), False),
    ],
)
def test_g1_paid_link_tells_its_order_whether_its_amount_is_awaited(
    events: list[LinkEvent], amount: tuple[int | None, str | None], awaits: bool
) -> None:
    link = [sent for outcome in follow(events) for sent in outcome.orders][-1]["link"]
    assert link is not None
    assert (link["amount_minor"], link["currency"]) == amount
    assert link["awaits_details"] is awaits


def test_g1_nothing_is_awaited_where_no_lookup_is_possible() -> None:
    (sent,) = follow([event("PAID")], ProviderRules())[-1].orders
    assert sent["link"] is not None
    assert not sent["link"]["awaits_details"]


def is_awaited(outcome: TrackOutcome) -> bool:
    return any(o["link"] is not None and o["link"]["awaits_details"] for o in outcome.orders)


@given(
    events=st.lists(link_events(), min_size=1, max_size=8),
    rules=st.sampled_from([SELF, PING, FINAL]),
)
def test_awaited_details_were_asked_for(events: list[LinkEvent], rules: ProviderRules) -> None:
    requests = 0
    for outcome in follow(events, rules):
        requests += outcome.lookup is not None and outcome.lookup["reason"] == "DETAILS"
        assert requests or not is_awaited(outcome)


def test_larger_amount_without_a_currency_is_asked_for_after_the_payment() -> None:
    """The order waits for the amount, so the provider is asked."""
    small = event("UNKNOWN", amount_minor=100, currency="EUR")
    larger = event("UNKNOWN", amount_minor=200, at=2)
    paid, after, again = follow([small, event("PAID"), larger, larger], SELF)[1:]
    assert (paid.lookup, is_awaited(paid)) == (None, False)
    assert after.lookup is not None
    assert (after.lookup["reason"], is_awaited(after)) == ("DETAILS", True)
    assert again.lookup is None


def test_link_that_changes_its_order_leaves_the_old_one() -> None:
    _, moved = follow([registration("O1"), registration("O2", at=2)])
    left, joined = moved.orders
    assert (left["order_id"], left["left_link_id"], left["left_for"]) == ("O1", "L1", "O2")
    assert (joined["order_id"], joined["left_link_id"], joined["left_for"]) == ("O2", None, None)


def test_announced_number_counts_only_in_the_order_that_is_registered() -> None:
    """A late registration must not keep the order waiting that counts the link's money."""
    awaiting = follow([event("PAID"), registration("O9", at=2, links_in_order=3)])
    assert [sent["order_id"] for o in awaiting for sent in o.orders] == ["L1"]
    named = event("CREATED", source="poll", order_id="P1")
    for order_id, number in (("O9", None), ("P1", 3), (None, 3)):
        (sent,) = follow([registration(order_id, links_in_order=3), named], PING)[-1].orders
        assert sent["link"] is not None
        assert (sent["order_id"], sent["link"]["links_in_order"]) == ("P1", number)


def test_g4_same_registration_again_has_no_consequence() -> None:
    first, again = follow([registration("O1", at=at, amount_minor=5) for at in (1, 2)])
    assert again == TrackOutcome(again.row)
    changed = {name for name, value in first.row.items() if again.row[name] != value}  # type: ignore[literal-required]
    assert changed == {"registration", "changed_at", "version"}


def test_g4_registration_that_arrives_after_a_later_one_changes_nothing() -> None:
    events = [registration("O2", registered_at=2), registration("O1", at=3, registered_at=1)]
    latest, outdated = follow(events)
    assert outdated == TrackOutcome(latest.row)


AGREED = registration(amount_minor=1_250, currency="ZAR")
PAID_MORE = event("PAID", at=2, amount_minor=123_456, received_minor=123_400, currency="ZAR")
UNDERPAID = event("PROCESSING", coverage="UNDERPAID", amount_minor=1_000, currency="JPY")
REVERSED = [
    event("PROCESSING", at=at, payment_id="p1", payment_status=status)
    for at, status in enumerate(("EXECUTED", "FAILED"))
]


@pytest.mark.parametrize(
    ("events", "kind", "detail"),
    [
        # Amounts are in major units: people read minor units a hundred times too high.
        ([AGREED, PAID_MORE], "AMOUNT_MISMATCH", "registered 12.50 ZAR, paid 1,234.56 ZAR ["),
        ([UNDERPAID], "UNDERPAID", "asked 1,000 JPY, received an unknown amount ["),
        (REVERSED, "PAYMENT_REVERSED", "payments: p1 executed, failed ["),
        (
            [event("PAID"), registration("O9", at=2)],
            "LATE_LINK",
            "paid in order L1, then registered for O9 [",
        ),
    ],
)
def test_detail_of_an_anomaly_is_evidence_in_words(
    events: list[LinkEvent], kind: str, detail: str
) -> None:
    (anomaly,) = follow(events)[-1].anomalies
    assert anomaly["kind"] == kind
    assert anomaly["detail"].startswith(detail)
