"""Orders: closed once, when everything known says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import MOST_LINKS, OrderEvent, OrderStatus
from streams.domain.orders import Ordered, order
from streams.domain.rules import ProviderRules
from tests.streams.domain.build import order_event, order_link

PING = ProviderRules(settlement="by_order")
TRUELAYER = ProviderRules(settlement="by_payment")
PEACH = ProviderRules(settlement="elsewhere")


def followed(events: list[OrderEvent], rules: ProviderRules = PEACH) -> list[Ordered]:
    row: OrderStatus | None = None
    outcomes = []
    for each in events:
        outcomes.append(order(row, each, rules))
        row = outcomes[-1].row
    return outcomes


def kinds(outcomes: list[Ordered]) -> list[str]:
    return [s["kind"] for outcome in outcomes for s in outcome.settlements]


def test_one_link_too_many_is_refused_and_those_that_are_there_go_on() -> None:
    links = [order_event(order_link(f"L{n:03}", "CREATED")) for n in range(MOST_LINKS)]
    row = followed(links)[-1].row
    with pytest.raises(ValueError, match="order O1 has 500 links already"):
        order(row, order_event(order_link("one more")), PEACH)
    paid = order(row, order_event(order_link("L007")), PEACH).row
    assert [link["link_id"] for link in paid["links"] if link["status"] == "PAID"] == ["L007"]


order_events = st.one_of(
    st.builds(
        lambda link_id, status, settled, declared: order_event(
            order_link(link_id, status, settled=settled), links_in_order=declared
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


@given(
    events=st.lists(order_events, min_size=1, max_size=12),
    rules=st.sampled_from([PING, TRUELAYER, PEACH]),
)
def test_an_order_closes_at_most_once_and_each_settlement_is_told_once(
    events: list[OrderEvent], rules: ProviderRules
) -> None:
    outcomes = followed(events, rules)
    closes = [outcome.close for outcome in outcomes if outcome.close]
    assert len(closes) <= 1
    told = kinds(outcomes)
    assert len(told) == len(set(told))
    assert closes or not told


@given(events=st.lists(order_events, min_size=1, max_size=12))
def test_a_close_counts_only_paid_links_and_leaves_none_open(events: list[OrderEvent]) -> None:
    for outcome in followed(events):
        if outcome.close is None:
            continue
        statuses = {link["link_id"]: link["status"] for link in outcome.row["links"]}
        assert {s for s in statuses.values()} <= {"PAID", "EXPIRED", "CANCELLED", "FAILED"}
        paid = [link_id for link_id, status in statuses.items() if status == "PAID"]
        assert [link["link_id"] for link in outcome.close["links"]] == paid
        assert len(statuses) >= (outcome.row["links_in_order"] or 1)


@given(events=st.lists(order_events, min_size=1, max_size=12))
def test_a_repeat_changes_and_emits_nothing(events: list[OrderEvent]) -> None:
    row = followed(events)[-1].row
    assert order(row, events[-1], PEACH) == Ordered(row)


def test_waits_while_a_link_is_open() -> None:
    open_one = order_event(order_link("L2", "CREATED"))
    assert not any(o.close for o in followed([open_one, order_event(order_link("L1"))]))
    closing = followed(
        [open_one, order_event(order_link("L1")), order_event(order_link("L2", "EXPIRED"))]
    )
    assert closing[-1].close is not None


def test_waits_for_as_many_links_as_were_announced() -> None:
    first, second = followed(
        [order_event(order_link("L1"), links_in_order=2), order_event(order_link("L2"))]
    )
    assert first.close is None
    assert second.close is not None
    assert (second.close["total_minor"], second.close["currency"]) == (1000, "EUR")


def test_currencies_are_never_added_up() -> None:
    outcome = followed(
        [
            order_event(order_link("L1"), links_in_order=2),
            order_event(order_link("L2", currency="SEK")),
        ]
    )[-1]
    assert outcome.close is not None
    assert outcome.close["total_minor"] is None
    (mismatch,) = outcome.anomalies
    assert mismatch["kind"] == "AMOUNT_MISMATCH"
    assert mismatch["detail"].endswith("different currencies: L1 5.00 EUR, L2 5.00 SEK")


def test_a_link_after_the_close_is_an_anomaly_and_no_second_close() -> None:
    late = followed([order_event(order_link("L1")), order_event(order_link("L2"))])[1]
    assert late.close is None
    assert [(a["kind"], a["link_id"]) for a in late.anomalies] == [("LATE_LINK", "L2")]


def test_a_late_link_that_is_paid_later_is_a_fact_of_its_own_and_each_is_told_once() -> None:
    opened, paid = order_link("L2", "OPENED"), order_link("L2")
    events = [order_event(order_link("L1")), order_event(opened), order_event(paid)]
    again = [order_event(left="L2"), order_event(paid), order_event(opened), order_event(paid)]
    told = [a for outcome in followed(events + again) for a in outcome.anomalies]
    assert {(a["kind"], a["link_id"]) for a in told} == {("LATE_LINK", "L2")}
    assert len({a["event_id"] for a in told}) == 2
    assert "order O1 was closed at 1970-01-01T00:00:00Z with L1" in told[0]["detail"]
    assert told[1]["detail"].endswith("is PAID with 5.00 EUR")


@given(
    late=st.permutations(
        [order_event(order_link(f"L{n}"), at=n, links_in_order=3) for n in (1, 2, 3)]
    )
)
def test_a_close_is_the_same_whichever_link_was_heard_of_last(late: list[OrderEvent]) -> None:
    closes = [outcome.close for outcome in followed(late) if outcome.close]
    assert len(closes) == 1
    assert (closes[0]["decided_at"], [k["link_id"] for k in closes[0]["links"]]) == (
        3,
        ["L1", "L2", "L3"],
    )


def test_ping_is_asked_to_settle_once_it_is_closed_and_confirms_when_settled() -> None:
    steps = [order_event(step=step) for step in ("CLOSED", "SPLIT", "SETTLED")]
    outcomes = followed([order_event(order_link("L1")), *steps], PING)
    assert [[s["kind"] for s in o.settlements] for o in outcomes] == [
        [],
        ["REQUESTED"],
        [],
        ["CONFIRMED"],
    ]
    assert [o.row["state"] for o in outcomes] == ["CLOSE_DECIDED", "CLOSED", "SPLIT", "SETTLED"]


def test_truelayer_is_expected_at_close_and_confirmed_when_settled() -> None:
    settled = order_event(order_link("L1", settled=True))
    assert kinds(followed([order_event(order_link("L1")), settled], TRUELAYER)) == [
        "EXPECTED",
        "CONFIRMED",
    ]
    assert kinds(followed([settled], TRUELAYER)) == ["CONFIRMED"]


def test_peach_and_ipint_are_expected_at_close() -> None:
    assert kinds(followed([order_event(order_link("L1"))], PEACH)) == ["EXPECTED"]


def test_a_refusal_shows_until_a_later_success() -> None:
    failed, done = followed(
        [order_event(step="FAILED", reason="not yours"), order_event(step="SETTLED")], PING
    )
    assert (failed.row["state"], failed.row["failure"]) == ("FAILED", "not yours")
    assert done.row["state"] == "SETTLED"


def test_a_step_beyond_the_refusal_makes_it_history_but_a_repeat_of_an_earlier_one_does_not() -> (
    None
):
    steps = [("CLOSED", None), ("FAILED", "not yet"), ("CLOSED", None), ("SPLIT", None)]
    outcomes = followed([order_event(step=step, reason=reason) for step, reason in steps], PING)
    assert [(o.row["state"], o.row["failure"]) for o in outcomes[1:]] == [
        ("FAILED", "not yet"),
        ("FAILED", "not yet"),
        ("SPLIT", None),
    ]
    assert outcomes[-1].row["steps"].keys() == {"CLOSED", "FAILED", "SPLIT"}
