"""Orders: each is closed once, and each kind of settlement is published once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import MOST_LINKS, OrderEvent
from streams.domain.orders import OrderOutcome, update_order
from streams.domain.rules import ProviderRules
from tests.streams.domain.build import follow, order_event, order_link

BY_ORDER = ProviderRules(settlement="by_order")
BY_PAYMENT = ProviderRules(settlement="by_payment")
ELSEWHERE = ProviderRules(settlement="elsewhere")

L1, L2 = order_event(order_link("L1")), order_event(order_link("L2"))
L1_OF_TWO = order_event(order_link("L1", links_in_order=2))


def kinds(outcomes: list[OrderOutcome]) -> list[str]:
    return [s["kind"] for outcome in outcomes for s in outcome.settlements]


def test_order_refuses_a_link_too_many_but_still_updates_the_others() -> None:
    links = [order_event(order_link(f"L{n:03}", "CREATED")) for n in range(MOST_LINKS)]
    row = follow(links)[-1].row
    with pytest.raises(ValueError, match="order O1 already has 500 links"):
        update_order(row, order_event(order_link("another")), ELSEWHERE)
    paid = update_order(row, order_event(order_link("L007")), ELSEWHERE).row
    assert [link["link_id"] for link in paid["links"] if link["status"] == "PAID"] == ["L007"]


order_events = st.one_of(
    st.builds(
        lambda link_id, status, settled, announced: order_event(
            order_link(link_id, status, settled=settled, links_in_order=announced)
        ),
        st.sampled_from(["L1", "L2", "L3"]),
        st.sampled_from(["CREATED", "PROCESSING", "EXPIRED", "CANCELLED", "PAID"]),
        st.booleans(),
        st.sampled_from([None, 1, 2]),
    ),
    st.builds(
        lambda step: order_event(step=step, reason="no"),
        st.sampled_from(["CLOSED", "SPLIT", "SETTLED", "FAILED"]),
    ),
    st.builds(lambda link_id: order_event(left=link_id), st.sampled_from(["L1", "L2"])),
)
some_events = st.lists(order_events, min_size=1, max_size=12)


@given(events=some_events, rules=st.sampled_from([BY_ORDER, BY_PAYMENT, ELSEWHERE]))
def test_order_closes_at_most_once_and_settles_each_kind_once(
    events: list[OrderEvent], rules: ProviderRules
) -> None:
    outcomes = follow(events, rules)
    closes = [outcome.close for outcome in outcomes if outcome.close]
    assert len(closes) <= 1
    settled = kinds(outcomes)
    assert len(settled) == len(set(settled))
    assert closes or not settled


@given(events=some_events)
def test_close_counts_only_paid_links_and_leaves_no_link_open(events: list[OrderEvent]) -> None:
    for outcome in follow(events):
        if outcome.close is None:
            continue
        statuses = {link["link_id"]: link["status"] for link in outcome.row["links"]}
        assert set(statuses.values()) <= {"PAID", "EXPIRED", "CANCELLED", "FAILED"}
        paid = [link_id for link_id, status in statuses.items() if status == "PAID"]
        assert [link["link_id"] for link in outcome.close["links"]] == paid
        assert len(statuses) >= (outcome.row["links_in_order"] or 1)


@given(events=some_events)
def test_repeated_event_changes_and_emits_nothing(events: list[OrderEvent]) -> None:
    row = follow(events)[-1].row
    assert update_order(row, events[-1], ELSEWHERE) == OrderOutcome(row)


def test_order_waits_while_a_link_is_open() -> None:
    opened, expired = (order_event(order_link("L2", s)) for s in ("CREATED", "EXPIRED"))
    assert [bool(o.close) for o in follow([opened, L1, expired])] == [False, False, True]


def test_order_waits_for_the_announced_number_of_links() -> None:
    first, second = follow([L1_OF_TWO, L2])
    assert first.close is None
    assert second.close is not None
    assert (second.close["total_minor"], second.close["currency"]) == (1000, "EUR")


def test_g4_order_waits_for_no_link_that_left() -> None:
    opened = order_event(order_link("L2", "CREATED", links_in_order=3))
    waiting, _, closed = follow([opened, L1, order_event(left="L2")])
    assert waiting.row["links_in_order"] == 3
    assert closed.close is not None
    assert [link["link_id"] for link in closed.close["links"]] == ["L1"]
    assert (closed.row["links_in_order"], closed.row["moved_links"]) == (None, {"L2": "O2"})


def test_later_registration_lowers_the_announced_number_of_links() -> None:
    assert [bool(o.close) for o in follow([L1_OF_TWO, L1])] == [False, True]


def test_g4_order_that_all_links_left_is_empty_until_one_comes_back() -> None:
    opened = order_event(order_link("L1", "CREATED"))
    outcomes = follow([opened, order_event(left="L1"), L1])
    assert [o.row["state"] for o in outcomes] == ["OPEN", "EMPTY", "CLOSE_DECIDED"]
    assert [o.row["moved_links"] for o in outcomes] == [{}, {"L1": "O2"}, {}]
    assert [bool(o.close) for o in outcomes] == [False, False, True]


def test_g4_closed_order_stays_closed_when_an_unpaid_link_leaves() -> None:
    expired = order_event(order_link("L2", "EXPIRED"))
    row = follow([expired, L1, order_event(left="L2")])[-1].row
    assert (row["state"], row["moved_links"]) == ("CLOSE_DECIDED", {"L2": "O2"})


def test_report_about_an_order_without_links_makes_no_order_unless_it_failed() -> None:
    steps = [order_event(step=step, reason="no such order") for step in ("CLOSED", "FAILED")]
    assert [o.row["state"] for o in follow([*steps, L1])] == ["UNKNOWN", "FAILED", "FAILED"]
    assert [o.row["state"] for o in follow([steps[0], L1])] == ["UNKNOWN", "CLOSED"]


@given(events=some_events)
def test_order_is_empty_only_without_links_and_without_a_decision(events: list[OrderEvent]) -> None:
    for outcome in follow(events):
        row = outcome.row
        assert not (row["moved_links"].keys() & {link["link_id"] for link in row["links"]})
        if row["state"] == "EMPTY":
            assert (row["links"], row["decided_at"], row["steps"]) == ([], None, {})


def test_order_remembers_a_bounded_number_of_moves() -> None:
    changes = [
        change
        for n in range(MOST_LINKS + 2)
        for change in (order_event(order_link(f"L{n}", "CREATED")), order_event(left=f"L{n}"))
    ]
    moved = follow(changes)[-1].row["moved_links"]
    assert (len(moved), "L1" in moved, "L2" in moved) == (MOST_LINKS, False, True)


def test_close_never_adds_up_different_currencies() -> None:
    outcome = follow([L1_OF_TWO, order_event(order_link("L2", currency="SEK"))])[-1]
    assert outcome.close is not None
    assert outcome.close["total_minor"] is None
    (mismatch,) = outcome.anomalies
    assert mismatch["kind"] == "AMOUNT_MISMATCH"
    assert mismatch["detail"].endswith("different currencies: L1 5.00 EUR, L2 5.00 SEK")


def test_link_after_the_close_raises_an_anomaly_and_no_second_close() -> None:
    late = follow([L1, L2])[1]
    assert late.close is None
    assert [(a["kind"], a["link_id"]) for a in late.anomalies] == [("LATE_LINK", "L2")]


def test_late_link_raises_one_anomaly_when_it_appears_and_one_when_it_is_paid() -> None:
    opened = order_event(order_link("L2", "OPENED"))
    again = [order_event(left="L2"), L2, opened, L2]
    late = [a for outcome in follow([L1, opened, L2, *again]) for a in outcome.anomalies]
    assert {(a["kind"], a["link_id"]) for a in late} == {("LATE_LINK", "L2")}
    assert len({a["event_id"] for a in late}) == 2
    assert "order O1 was closed at 1970-01-01T00:00:00Z with L1" in late[0]["detail"]
    assert late[1]["detail"].endswith("is PAID with 5.00 EUR")


@given(
    events=st.permutations(
        [order_event(order_link(f"L{n}", links_in_order=3), at=n) for n in (1, 2, 3)]
    )
)
def test_close_does_not_depend_on_which_event_comes_last(events: list[OrderEvent]) -> None:
    (close,) = (outcome.close for outcome in follow(events) if outcome.close)
    assert close["decided_at"] == 3
    assert [link["link_id"] for link in close["links"]] == ["L1", "L2", "L3"]


def test_settlement_by_order_is_requested_when_closed_and_confirmed_when_settled() -> None:
    steps = [order_event(step=step) for step in ("CLOSED", "SPLIT", "SETTLED")]
    outcomes = follow([L1, *steps], BY_ORDER)
    assert [kinds([o]) for o in outcomes] == [[], ["REQUESTED"], [], ["CONFIRMED"]]
    assert [o.row["state"] for o in outcomes] == ["CLOSE_DECIDED", "CLOSED", "SPLIT", "SETTLED"]


def test_settlement_by_payment_is_expected_at_close_and_confirmed_when_settled() -> None:
    settled = order_event(order_link("L1", settled=True))
    assert kinds(follow([L1, settled], BY_PAYMENT)) == ["EXPECTED", "CONFIRMED"]
    assert kinds(follow([settled], BY_PAYMENT)) == ["CONFIRMED"]


def test_settlement_elsewhere_is_expected_at_close() -> None:
    assert kinds(follow([L1], ELSEWHERE)) == ["EXPECTED"]


def test_settlement_elsewhere_is_confirmed_once_when_it_is_reported() -> None:
    steps = [order_event(step="SETTLED", at=at) for at in (20, 30)]
    outcomes = follow([L1, *steps], ELSEWHERE)
    assert [kinds([o]) for o in outcomes] == [["EXPECTED"], ["CONFIRMED"], []]
    assert [o.row["state"] for o in outcomes] == ["CLOSE_DECIDED", "SETTLED", "SETTLED"]
    assert kinds(follow([steps[0], L1], ELSEWHERE)) == ["CONFIRMED"]


def test_report_of_a_payout_confirms_a_settlement_by_payment() -> None:
    settled = order_event(order_link("L1", settled=True))
    assert kinds(follow([L1, order_event(step="SETTLED"), settled], BY_PAYMENT)) == [
        "EXPECTED",
        "CONFIRMED",
    ]


def test_refusal_shows_until_a_new_step_succeeds() -> None:
    steps = ["CLOSED", "FAILED", "CLOSED", "SPLIT", "FAILED", "SETTLED"]
    reports = [order_event(step=step, reason="not yet") for step in steps]
    _, *outcomes = follow([L1, *reports], BY_ORDER)
    assert [(o.row["state"], o.row["failure"]) for o in outcomes] == [
        ("CLOSED", None),
        ("FAILED", "not yet"),
        ("FAILED", "not yet"),
        ("SPLIT", None),
        ("FAILED", "not yet"),
        ("SETTLED", None),
    ]
    assert outcomes[-1].row["steps"].keys() == {"CLOSED", "FAILED", "SPLIT", "SETTLED"}
