"""The fold: by property for every set of facts, by example for every rule of the design."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import ENDED, LinkEvent, LinkStatus, Status
from streams.domain.link import fold
from streams.domain.rules import RANK, ProviderRules
from tests.streams.domain.build import event, link_events, registration

SELF = ProviderRules()
LOOKUP = ProviderRules(order_from="lookup")
REGISTRATION = ProviderRules(order_from="registration")
FOR_GOOD = ProviderRules(ends_for_good=True)


def folded(events: list[LinkEvent], rules: ProviderRules = SELF) -> LinkStatus:
    row: LinkStatus | None = None
    for each in events:
        row = fold(row, each, rules)
    assert row is not None
    return row


def essence(row: LinkStatus) -> dict[str, object]:
    """The row without what may depend on arrival."""
    return {k: v for k, v in row.items() if k not in ("version", "changed_at")}


@pytest.mark.parametrize("rules", [SELF, FOR_GOOD])
@given(events=st.lists(link_events(), min_size=1, max_size=8), data=st.data())
def test_order_and_repeats_do_not_change_the_row(
    rules: ProviderRules, events: list[LinkEvent], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(events + events[: data.draw(st.integers(0, 8))]))
    assert essence(folded(list(shuffled), rules)) == essence(folded(events, rules))


# A paid link stays in the order it was counted in, so with orders named by lookups the property
# holds for facts that name one order.
@given(events=st.lists(link_events(), min_size=1, max_size=8), data=st.data())
def test_order_does_not_matter_where_lookups_name_the_order(
    events: list[LinkEvent], data: st.DataObject
) -> None:
    for each in events:
        each["order_id"] = "O1" if each["source"] in ("lookup", "poll") else None
        each["verified"] = each["source"] in ("lookup", "poll")
    shuffled = data.draw(st.permutations(events))
    assert essence(folded(list(shuffled), LOOKUP)) == essence(folded(events, LOOKUP))


@given(events=st.lists(link_events(), min_size=1, max_size=8))
def test_a_repeat_returns_the_very_same_row(events: list[LinkEvent]) -> None:
    row = folded(events)
    for each in events:
        assert fold(row, each, SELF) is row


@given(events=st.lists(link_events(), min_size=1, max_size=8))
def test_status_is_the_highest_verified_rank(events: list[LinkEvent]) -> None:
    verified = [RANK[each["status"]] for each in events if each["verified"]]
    assert RANK[folded(events)["status"]] == max(verified, default=0)


@given(events=st.lists(link_events(), min_size=1, max_size=8))
def test_claims_alone_never_end_or_pay_a_link(events: list[LinkEvent]) -> None:
    for each in events:
        each["verified"] = False
    row = folded(events)
    assert row["status"] not in ENDED
    assert not row["verified"]
    assert row["payment_ids"] == []
    assert row["amount_minor"] is None


@given(events=st.lists(link_events(), min_size=1, max_size=8))
def test_the_status_never_goes_back(events: list[LinkEvent]) -> None:
    row: LinkStatus | None = None
    for each in events:
        after = fold(row, each, SELF)
        if row is not None:
            assert RANK[after["status"]] >= RANK[row["status"]]
            assert set(row["times"]) <= set(after["times"])
        row = after


def test_a_claim_ahead_of_what_is_verified_shows_until_it_is_confirmed() -> None:
    claim = event("PAID", verified=False)
    assert folded([event("CREATED"), claim])["claimed_status"] == "PAID"
    assert folded([claim, event("PAID", source="lookup")])["claimed_status"] is None


@pytest.mark.parametrize("ending", ["EXPIRED", "CANCELLED", "FAILED"])
def test_money_after_an_ending_is_paid_and_an_anomaly(ending: Status) -> None:
    row = folded([event(ending), event("PAID")])
    assert row["status"] == "PAID"
    assert row["anomalies"] == ["PAID_AFTER_END"]


def test_two_endings_conflict() -> None:
    row = folded([event("FAILED"), event("EXPIRED")])
    assert (row["status"], row["anomalies"]) == ("FAILED", ["CONFLICTING_END"])


def test_underpaid_is_an_anomaly_and_not_paid() -> None:
    row = folded([event("PROCESSING", coverage="UNDERPAID", received_minor=90)])
    assert (row["status"], row["coverage"]) == ("PROCESSING", "UNDERPAID")
    assert row["anomalies"] == ["UNDERPAID"]


def test_completed_with_amounts_that_cannot_be_compared_is_an_anomaly_and_not_paid() -> None:
    row = folded([event("PROCESSING", coverage="UNKNOWN")])
    assert (row["status"], row["coverage"]) == ("PROCESSING", "UNKNOWN")
    assert row["anomalies"] == ["AMOUNT_MISMATCH"]


def test_overpaid_is_an_anomaly_and_paid() -> None:
    row = folded([event("PAID", coverage="OVERPAID", received_minor=110)])
    assert (row["status"], row["coverage"]) == ("PAID", "OVERPAID")
    assert row["anomalies"] == ["OVERPAID"]


def test_two_paid_payments_are_a_second_payment() -> None:
    paid = [event("PAID", payment_id=p, payment_status="PAID") for p in ("p2", "p1")]
    row = folded(paid)
    assert row["anomalies"] == ["SECOND_PAYMENT"]
    assert row["payment_ids"] == ["p1", "p2"]


def test_a_failed_first_attempt_is_no_second_payment() -> None:
    row = folded(
        [
            event("UNKNOWN", payment_id="p1", payment_status="FAILED"),
            event("PAID", payment_id="p2", payment_status="SETTLED"),
        ]
    )
    assert (row["anomalies"], row["payment_id"]) == ([], "p2")


def test_an_accepted_payment_that_fails_is_reversed() -> None:
    row = folded(
        [
            event("UNKNOWN", payment_id="p1", payment_status="FAILED"),
            event("PROCESSING", payment_id="p1", payment_status="EXECUTED"),
        ]
    )
    assert row["anomalies"] == ["PAYMENT_REVERSED"]


def test_a_registered_amount_that_differs_from_the_paid_one_is_a_mismatch() -> None:
    told = registration(amount_minor=100, currency="EUR")
    assert folded([told, event("PAID", amount_minor=100, currency="EUR")])["anomalies"] == []
    for amount, currency in ((90, "EUR"), (100, "SEK")):
        paid = event("PAID", amount_minor=amount, currency=currency)
        assert folded([paid, told])["anomalies"] == ["AMOUNT_MISMATCH"]


def test_a_denied_claim_is_an_anomaly() -> None:
    row = folded([event("PAID", verified=False), event("EXPIRED", source="lookup", denies="PAID")])
    assert (row["status"], row["anomalies"]) == ("EXPIRED", ["CLAIM_DENIED"])


def test_a_link_is_an_order_of_its_own_unless_registered_for_one() -> None:
    assert folded([event("PAID")])["order_id"] == "L1"
    row = folded([registration("O9"), event("PAID")])
    assert (row["order_id"], row["order_from"]) == ("O9", "REGISTRATION")


def test_a_registration_after_the_link_was_paid_does_not_move_it() -> None:
    row = folded([event("PAID"), registration("O9")])
    assert (row["order_id"], row["anomalies"]) == ("L1", ["LATE_LINK"])


def test_a_lookup_names_the_order_where_it_is_waited_for() -> None:
    assert folded([event("PAID", verified=False)], LOOKUP)["order_from"] == "AWAITED"
    row = folded([registration("O9"), event("PAID", source="lookup", order_id="P1")], LOOKUP)
    assert (row["order_id"], row["order_from"]) == ("P1", "LOOKUP")


def test_a_paid_link_waits_for_its_registration_where_it_is_waited_for() -> None:
    assert folded([event("PAID")], REGISTRATION)["order_from"] == "AWAITED"
    row = folded([event("PAID"), registration("O9")], REGISTRATION)
    assert (row["order_id"], row["order_from"], row["anomalies"]) == ("O9", "REGISTRATION", [])
