"""The fold: properties for every set of events, and a table of examples for the rules."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import ENDED, LinkEvent, LinkStatus
from streams.domain.link_status import fold
from streams.domain.rules import RANK, ProviderRules
from tests.streams.domain.build import claim, event, link_events, registration, registrations

SELF = ProviderRules()
LOOKUP = ProviderRules(order_from="lookup")
REGISTRATION = ProviderRules(order_from="registration")
FINAL = ProviderRules(final_after_end=True)
SIGNED_FOR_ALL = ProviderRules(signs_for_all=True)

some_events = st.lists(link_events(), min_size=1, max_size=8)


def fold_all(events: list[LinkEvent], rules: ProviderRules = SELF) -> LinkStatus:
    row: LinkStatus | None = None
    for each in events:
        row = fold(row, each, rules)
    assert row is not None
    return row


def without_arrival(row: LinkStatus) -> dict[str, object]:
    """Return the row without what may depend on arrival."""
    return {k: v for k, v in row.items() if k not in ("version", "changed_at")}


@pytest.mark.parametrize("rules", [SELF, FINAL, SIGNED_FOR_ALL])
@given(events=some_events, data=st.data())
def test_order_and_repeats_do_not_change_the_row(
    rules: ProviderRules, events: list[LinkEvent], data: st.DataObject
) -> None:
    repeats = events[: data.draw(st.integers(0, 8))]
    shuffled = list(data.draw(st.permutations(events + repeats)))
    assert without_arrival(fold_all(shuffled, rules)) == without_arrival(fold_all(events, rules))


def test_only_a_lookup_that_tells_something_new_is_a_change() -> None:
    open_ = fold_all([event("CREATED", source="lookup", at=20)])
    silent = fold(open_, event("CREATED", "again", source="lookup", at=30), SELF)
    assert (silent["looked_up_at"], silent["changed_at"]) == (30, 20)
    assert silent["version"] == open_["version"] + 1
    paid = fold(silent, event("PAID", source="lookup", at=40), SELF)
    assert paid["changed_at"] == 40


# A paid link stays in the order that counted it. So where lookups name the order, the property
# holds for events that name one order.
@given(events=some_events, data=st.data())
def test_order_does_not_matter_where_lookups_name_the_order(
    events: list[LinkEvent], data: st.DataObject
) -> None:
    for each in events:
        each["verified"] = each["source"] in ("lookup", "poll")
        each["order_id"] = "O1" if each["verified"] else None
    shuffled = list(data.draw(st.permutations(events)))
    assert without_arrival(fold_all(shuffled, LOOKUP)) == without_arrival(fold_all(events, LOOKUP))


def registered_at(event: LinkEvent) -> int:
    assert event["registration"]
    return event["registration"]["registered_at"]


unpaid_events = link_events().filter(lambda event: event["status"] != "PAID")


@pytest.mark.parametrize("rules", [SELF, LOOKUP, REGISTRATION])
@given(
    events=st.lists(unpaid_events, max_size=4),
    registered=st.lists(registrations(), min_size=1, max_size=4, unique_by=registered_at),
    data=st.data(),
)
def test_before_the_payment_the_latest_registration_counts_whenever_it_arrives(
    rules: ProviderRules, events: list[LinkEvent], registered: list[LinkEvent], data: st.DataObject
) -> None:
    repeats = registered[: data.draw(st.integers(0, 4))]
    shuffled = list(data.draw(st.permutations([*events, *registered, *repeats])))
    row = fold_all(shuffled, rules)
    assert without_arrival(row) == without_arrival(fold_all([*events, *registered], rules))
    assert row["registration"] == max(registered, key=registered_at)["registration"]
    for each in registered:
        assert fold(row, each, rules) is row


@given(
    events=some_events,
    registered=st.lists(registrations(), min_size=1, max_size=4, unique_by=registered_at),
    data=st.data(),
)
def test_after_the_payment_only_the_order_depends_on_arrival(
    events: list[LinkEvent], registered: list[LinkEvent], data: st.DataObject
) -> None:
    """The order that counts the money keeps it."""
    shuffled = list(data.draw(st.permutations([*events, *registered])))
    one, other = (without_arrival(fold_all(each)) for each in (shuffled, [*events, *registered]))
    for row in (one, other):
        del row["order_id"], row["order_from"]
        row["anomalies"] = [kind for kind in row["anomalies"] if kind != "LATE_LINK"]  # type: ignore[attr-defined]
    assert one == other


# The registrations of an unpaid link, by order and time, as they arrive; the order that counts it.
PRECEDENCE: list[tuple[list[tuple[str | None, int]], str]] = [
    ([("O1", 1), ("O2", 2)], "O2"),
    ([("O2", 2), ("O1", 1)], "O2"),
    ([("O1", 1), ("O2", 2), ("O1", 3)], "O1"),
    ([("O1", 1), (None, 2)], "L1"),
    # Of the same moment: a program may state the same time in each.
    ([("O1", 1), ("O2", 1)], "O2"),
]


@pytest.mark.parametrize(("registered", "order_id"), PRECEDENCE)
def test_g4_precedence_of_registrations(
    registered: list[tuple[str | None, int]], order_id: str
) -> None:
    events = [
        registration(name, at, registered_at=time)
        for at, (name, time) in enumerate(registered, start=10)
    ]
    assert fold_all(events)["order_id"] == order_id
    named = event("CREATED", source="poll", order_id="P1")
    for arrival in ([named, *events], [*events, named]):
        row = fold_all(arrival, LOOKUP)
        assert (row["order_id"], row["order_from"]) == ("P1", "LOOKUP")


@given(events=some_events)
def test_repeated_event_returns_the_same_row(events: list[LinkEvent]) -> None:
    row = fold_all(events)
    for each in events:
        assert fold(row, each, SELF) is row


@given(events=some_events)
def test_status_is_the_highest_verified_rank_and_never_falls(events: list[LinkEvent]) -> None:
    row: LinkStatus | None = None
    highest = 0
    for each in events:
        after = fold(row, each, SELF)
        highest = max(highest, RANK[each["status"]] if each["verified"] else 0)
        assert RANK[after["status"]] == highest
        assert set(row["times"] if row else ()) <= set(after["times"])
        row = after


@given(events=some_events)
def test_reason_is_one_of_a_verified_event_and_only_of_a_link_that_is_processing(
    events: list[LinkEvent],
) -> None:
    row = fold_all(events)
    reasons = {e["reason"] for e in events if e["verified"] and e["status"] == "PROCESSING"}
    if row["status"] == "PROCESSING":
        assert row["reason"] in reasons
        assert (row["reason"] is None) == (reasons == {None})
    else:
        assert row["reason"] is None


@given(events=some_events)
def test_claims_alone_never_end_or_pay_a_link(events: list[LinkEvent]) -> None:
    for each in events:
        each["verified"] = False
    row = fold_all(events)
    assert row["status"] not in ENDED
    assert not row["verified"]
    assert row["payment_ids"] == []
    assert row["amount_minor"] is None


def payment(payment_id: str, status: str, link_status: Any) -> LinkEvent:
    return event(link_status, payment_id=payment_id, payment_status=status)


def paid(amount_minor: int, currency: str) -> LinkEvent:
    return event("PAID", amount_minor=amount_minor, currency=currency)


EXPIRED, CANCELLED = event("EXPIRED"), event("CANCELLED")
FAILED, PAID = event("FAILED"), event("PAID")
CLAIM, LOOKED_UP = claim("PAID"), event("PAID", source="lookup", order_id="P1")
UNDERPAID = event("PROCESSING", coverage="UNDERPAID", received_minor=90)
OVERPAID = event("PAID", coverage="OVERPAID", received_minor=110)
UNCOMPARABLE = event("PROCESSING", coverage="UNKNOWN")
AUTHORISED = event("PROCESSING", reason="authorised only")
DENIAL = event("EXPIRED", source="lookup", denies="PAID")
TWO_PAID = [payment("p2", "PAID", "PAID"), payment("p1", "PAID", "PAID")]
FAILED_THEN_PAID = [payment("p1", "FAILED", "UNKNOWN"), payment("p2", "SETTLED", "PAID")]
ACCEPTED_THEN_FAILED = [
    payment("p1", "FAILED", "UNKNOWN"),
    payment("p1", "EXECUTED", "PROCESSING"),
]
REGISTERED = registration(amount_minor=100, currency="EUR")
FOR_O9, FOR_O10 = registration("O9"), registration("O10", at=2)
AGAIN_FOR_O9 = registration("O9", at=2, expires_at=9)
MISMATCH = ["AMOUNT_MISMATCH"]

# Events in their order; the rules; the status, the anomalies and other fields of the row.
CASES: list[tuple[list[LinkEvent], ProviderRules, str, list[str], dict[str, object]]] = [
    ([event("CREATED"), CLAIM], SELF, "CREATED", [], {"claimed_status": "PAID"}),
    ([CLAIM, LOOKED_UP], SELF, "PAID", [], {"claimed_status": None}),
    ([EXPIRED, PAID], SELF, "PAID", ["PAID_AFTER_END"], {}),
    ([CANCELLED, PAID], SELF, "PAID", ["PAID_AFTER_END"], {}),
    ([FAILED, PAID], SELF, "PAID", ["PAID_AFTER_END"], {}),
    ([FAILED, EXPIRED], SELF, "FAILED", ["CONFLICTING_END"], {}),
    ([UNDERPAID], SELF, "PROCESSING", ["UNDERPAID"], {"coverage": "UNDERPAID"}),
    ([OVERPAID], SELF, "PAID", ["OVERPAID"], {"coverage": "OVERPAID"}),
    ([AUTHORISED, claim("PAID")], SELF, "PROCESSING", [], {"reason": "authorised only"}),
    ([PAID, AUTHORISED], SELF, "PAID", [], {"reason": None}),
    ([UNCOMPARABLE], SELF, "PROCESSING", MISMATCH, {"coverage": "UNKNOWN"}),
    (TWO_PAID, SELF, "PAID", ["SECOND_PAYMENT"], {"payment_ids": ["p1", "p2"]}),
    (FAILED_THEN_PAID, SELF, "PAID", [], {"payment_id": "p2"}),
    (ACCEPTED_THEN_FAILED, SELF, "PROCESSING", ["PAYMENT_REVERSED"], {}),
    ([REGISTERED, paid(100, "EUR")], SELF, "PAID", [], {}),
    ([paid(90, "EUR"), REGISTERED], SELF, "PAID", MISMATCH, {}),
    ([paid(100, "SEK"), REGISTERED], SELF, "PAID", MISMATCH, {}),
    ([CLAIM, DENIAL], SELF, "EXPIRED", ["CLAIM_DENIED"], {}),
    ([PAID], SELF, "PAID", [], {"order_id": "L1", "order_from": "SELF"}),
    ([FOR_O9, PAID], SELF, "PAID", [], {"order_id": "O9", "order_from": "REGISTRATION"}),
    # A registration after the payment does not move the link.
    ([PAID, FOR_O9], SELF, "PAID", ["LATE_LINK"], {"order_id": "L1"}),
    ([LOOKED_UP, FOR_O9], LOOKUP, "PAID", ["LATE_LINK"], {"order_id": "P1"}),
    ([PAID, FOR_O9, FOR_O10], REGISTRATION, "PAID", ["LATE_LINK"], {"order_id": "O9"}),
    # It names the order that counts the link, or none.
    ([LOOKED_UP, registration("P1")], LOOKUP, "PAID", [], {"order_id": "P1"}),
    ([FOR_O9, PAID, REGISTERED], SELF, "PAID", [], {"order_id": "O9"}),
    ([LOOKED_UP, REGISTERED], LOOKUP, "PAID", [], {"order_id": "P1"}),
    # It named the other order before the payment already.
    ([FOR_O9, LOOKED_UP, AGAIN_FOR_O9], LOOKUP, "PAID", [], {"order_id": "P1"}),
    ([CLAIM], LOOKUP, "UNKNOWN", [], {"order_from": "AWAITED"}),
    ([FOR_O9, LOOKED_UP], LOOKUP, "PAID", [], {"order_id": "P1", "order_from": "LOOKUP"}),
    ([PAID], REGISTRATION, "PAID", [], {"order_from": "AWAITED"}),
    ([PAID, FOR_O9], REGISTRATION, "PAID", [], {"order_id": "O9", "order_from": "REGISTRATION"}),
]


@pytest.mark.parametrize(("events", "rules", "status", "anomalies", "fields"), CASES)
def test_row_of_example_events(
    events: list[LinkEvent],
    rules: ProviderRules,
    status: str,
    anomalies: list[str],
    fields: dict[str, object],
) -> None:
    row = fold_all(events, rules)
    assert (row["status"], row["anomalies"]) == (status, anomalies)
    assert {**row, **fields} == row
