"""No order closes without an amount that can still come (G1), and a later amount closes nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import OrderCorrection, OrderEvent, OrderStatus
from streams.domain.orders import OrderOutcome, close_without_details, update_order
from streams.domain.rules import ProviderRules
from tests.streams.domain.build import order_event, order_link

ELSEWHERE = ProviderRules(settlement="elsewhere")
BY_ORDER = ProviderRules(settlement="by_order")
BY_PAYMENT = ProviderRules(settlement="by_payment")
LATE = 1_000

# The end of the wait, which no record brings.
TIME_IS_UP = None
Change = OrderEvent | None


def follow(changes: list[Change], rules: ProviderRules = ELSEWHERE) -> list[OrderOutcome]:
    row: OrderStatus | None = None
    outcomes = []
    for change in changes:
        if change is not None:
            outcomes.append(update_order(row, change, rules))
        elif row is not None:
            outcomes.append(close_without_details(row, LATE, rules))
        row = outcomes[-1].row if outcomes else None
    return outcomes


def unknown(link_id: str, awaits_details: bool = True, at: int = 10, **fields: Any) -> OrderEvent:
    """Return a paid link without an amount."""
    fields |= {"amount_minor": None, "currency": None, "awaits_details": awaits_details}
    return order_event(order_link(link_id, **fields), at=at)


L1, L2 = order_event(order_link("L1")), order_event(order_link("L2", links_in_order=2))


def test_g1_close_waits_for_the_amount_that_was_asked_for() -> None:
    waiting, closed = follow([unknown("L1"), L1])
    assert (waiting.close, waiting.settlements, waiting.row["state"]) == (None, (), "OPEN")
    assert waiting.row["details_awaited_since"] == 10
    assert closed.close is not None
    assert (closed.close["total_minor"], closed.close["currency"]) == (500, "EUR")
    assert [s["amount_minor"] for s in closed.settlements] == [500]
    assert (closed.row["details_awaited_since"], closed.anomalies) == (None, ())


def test_close_waits_for_the_provider_even_if_a_registration_tells_an_amount() -> None:
    registered = order_event(order_link("L1", amount_minor=400, awaits_details=True))
    waiting, closed = follow([registered, L1])
    assert waiting.close is None
    assert closed.close is not None
    assert closed.close["total_minor"] == 500


def test_close_after_the_wait_is_told_as_an_anomaly_and_corrected_once_the_amount_is_known() -> (
    None
):
    _, closed, corrected, repeated = follow([unknown("L1"), TIME_IS_UP, L1, L1])
    assert closed.close is not None
    assert (closed.close["total_minor"], closed.close["currency"]) == (None, None)
    assert closed.close["decided_at"] == LATE
    (anomaly,) = closed.anomalies
    assert (anomaly["kind"], anomaly["link_id"]) == ("AMOUNT_UNKNOWN", "L1")
    assert anomaly["detail"] == (
        "order O1 was closed without the amount of L1: it was asked for, and has not come in time"
    )
    (settlement,) = closed.settlements
    correction = corrected.correction
    assert correction is not None
    assert correction["corrects"] == [closed.close["event_id"], settlement["event_id"]]
    assert (correction["number"], correction["total_minor"], correction["currency"]) == (
        *(1, 500),
        "EUR",
    )
    assert [link["amount_minor"] for link in correction["links"]] == [500]
    assert correction["event_id"] not in correction["corrects"]
    assert (corrected.close, corrected.settlements, corrected.anomalies) == (None, (), ())
    assert (corrected.row["total_minor"], corrected.row["correction_number"]) == (500, 1)
    assert repeated == OrderOutcome(corrected.row)


def test_close_after_the_wait_states_the_registered_amount_without_an_anomaly() -> None:
    registered = order_event(order_link("L1", amount_minor=400, awaits_details=True))
    paid_more = order_event(order_link("L1", amount_minor=450))
    _, closed, same, more = follow(
        [registered, TIME_IS_UP, order_event(order_link("L1", amount_minor=400)), paid_more]
    )
    assert closed.close is not None
    assert (closed.close["total_minor"], closed.anomalies) == (400, ())
    assert same.correction is None
    assert more.correction is not None
    assert more.correction["total_minor"] == 450


def test_close_does_not_wait_for_an_amount_that_nothing_can_tell() -> None:
    (closed,) = follow([unknown("L1", awaits_details=False)])
    assert closed.close is not None
    assert [a["detail"] for a in closed.anomalies] == [
        "order O1 was closed without the amount of L1: neither the provider nor a registration "
        "tells it"
    ]


def test_wait_begins_when_only_the_amount_is_missing() -> None:
    opened = order_event(order_link("L2", "OPENED"), at=5)
    expired = order_event(order_link("L2", "EXPIRED"), at=70)
    outcomes = follow([opened, unknown("L1"), TIME_IS_UP, expired, TIME_IS_UP])
    assert [o.row["details_awaited_since"] for o in outcomes] == [None, None, None, 70, None]
    assert [bool(o.close) for o in outcomes] == [False, False, False, False, True]


def test_wait_is_over_when_a_link_of_the_order_opens() -> None:
    *_, opened, late = follow([unknown("L1"), order_event(order_link("L2", "CREATED")), TIME_IS_UP])
    assert (opened.row["details_awaited_since"], late.close) == (None, None)


def test_order_of_several_links_is_corrected_once_all_amounts_are_known() -> None:
    links = [unknown("L1", links_in_order=2), unknown("L2")]
    *_, closed, first, second = follow([*links, TIME_IS_UP, L1, L2])
    assert closed.close is not None
    assert [a["link_id"] for a in closed.anomalies] == ["L1"]
    assert "without the amount of L1, L2" in closed.anomalies[0]["detail"]
    assert first.correction is None
    assert second.correction is not None
    assert second.correction["total_minor"] == 1000


def test_correction_of_different_currencies_has_no_total() -> None:
    kes = order_event(order_link("L2", currency="KES"))
    corrected = follow([unknown("L2", links_in_order=2), L1, TIME_IS_UP, kes])[-1].correction
    assert corrected is not None
    assert (corrected["total_minor"], corrected["currency"]) == (None, None)
    assert [k["currency"] for k in corrected["links"]] == ["EUR", "KES"]


def test_settlement_after_a_correction_states_the_corrected_amount() -> None:
    steps: list[Change] = [order_event(step="CLOSED"), L1, order_event(step="SETTLED")]
    outcomes = follow([unknown("L1"), TIME_IS_UP, *steps], BY_ORDER)
    requested, confirmed = (s for outcome in outcomes for s in outcome.settlements)
    assert (requested["amount_minor"], confirmed["amount_minor"]) == (None, 500)
    correction = outcomes[3].correction
    assert correction is not None
    assert requested["event_id"] in correction["corrects"]
    assert confirmed["event_id"] not in correction["corrects"]


def test_link_that_was_not_in_the_close_corrects_nothing() -> None:
    late = follow([L1, unknown("L2", awaits_details=False), L2])
    assert [outcome.correction for outcome in late] == [None, None, None]


links = st.builds(
    lambda link_id, amount, awaits, status, settled: order_event(
        order_link(
            link_id,
            status,
            amount_minor=amount,
            currency=amount and "EUR",
            awaits_details=awaits and status == "PAID",
            settled=settled,
        )
    ),
    st.sampled_from(["L1", "L2"]),
    st.sampled_from([None, 300, 500]),
    st.booleans(),
    st.sampled_from(["CREATED", "EXPIRED", "PAID"]),
    st.booleans(),
)
steps = st.builds(lambda step: order_event(step=step), st.sampled_from(["CLOSED", "SETTLED"]))
changes = st.lists(st.one_of(links, links, steps, st.just(TIME_IS_UP)), min_size=1, max_size=12)


@given(changes=changes, rules=st.sampled_from([ELSEWHERE, BY_ORDER, BY_PAYMENT]))
def test_order_closes_once_and_corrections_never_close(
    changes: list[Change], rules: ProviderRules
) -> None:
    outcomes = follow(changes, rules)
    closes = [outcome.close for outcome in outcomes if outcome.close]
    corrections: list[OrderCorrection] = [o.correction for o in outcomes if o.correction]
    assert len(closes) <= 1
    assert closes or not corrections
    assert [each["number"] for each in corrections] == [*range(1, len(corrections) + 1)]
    ids = [each["event_id"] for each in (*closes, *corrections)]
    assert len(ids) == len(set(ids))
    for each in corrections:
        assert [link["link_id"] for link in each["links"]] == outcomes[-1].row["closed_link_ids"]


@given(changes=changes)
def test_last_word_on_an_order_is_its_row(changes: list[Change]) -> None:
    outcomes = follow(changes)
    decisions = [each for o in outcomes for each in (o.close, o.correction) if each is not None]
    if decisions:
        row = outcomes[-1].row
        assert (decisions[-1]["total_minor"], decisions[-1]["currency"]) == (
            row["total_minor"],
            row["currency"],
        )


@given(changes=changes)
def test_order_closes_while_it_waits_only_when_time_is_up(changes: list[Change]) -> None:
    row: OrderStatus | None = None
    for change in changes:
        outcome = follow([change])[-1] if row is None and change else None
        if row is not None:
            outcome = (
                close_without_details(row, LATE, ELSEWHERE)
                if change is None
                else update_order(row, change, ELSEWHERE)
            )
        if outcome is None:
            continue
        if outcome.close and change is not TIME_IS_UP:
            paid = [link for link in outcome.row["links"] if link["status"] == "PAID"]
            assert not any(link["awaits_details"] for link in paid)
        row = outcome.row


@pytest.mark.parametrize("at", [5, LATE + 5])
def test_decision_after_the_wait_is_not_earlier_than_the_last_event(at: int) -> None:
    closed = follow([unknown("L1", at=at), TIME_IS_UP])[-1].close
    assert closed is not None
    assert closed["decided_at"] == max(at, LATE)
