"""The factories of the test kit make the events that the rules of the pipeline make."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from schemas.codec import ORDER_CLOSE, BadRecord
from schemas.records import OrderClose, Status
from schemas.refund_records import Refund
from schemas.times import BadTime
from streams import testing
from streams.domain.orders import update_order
from streams.domain.rules import ProviderRules
from streams.domain.track import track
from streams.testing.events import AT, checked
from tests.streams.domain.build import event, order_event, order_link, refunded, registration

RULES = ProviderRules(settlement="elsewhere")
UNKNOWN_AMOUNT = order_event(
    order_link("L1", amount_minor=None, currency=None, payment_id="P1"), at=AT
)
KNOWN_AMOUNT = order_event(order_link("L1", amount_minor=1200, payment_id="P1"), at=AT)


def links(amount_minor: int | None) -> list[Any]:
    return [testing.closed_link("L1", amount_minor, "EUR", paid_at=7)]


@pytest.mark.parametrize("amount", [1200, None])
def test_close_and_settlement_are_those_of_the_rules(amount: int | None) -> None:
    outcome = update_order(None, UNKNOWN_AMOUNT if amount is None else KNOWN_AMOUNT, RULES)
    close = testing.order_close(provider="acme", links=links(amount))
    assert close == outcome.close
    assert (testing.settlement(close),) == outcome.settlements


def test_correction_is_that_of_the_rules() -> None:
    closed = update_order(None, UNKNOWN_AMOUNT, RULES)
    close = testing.order_close(provider="acme", links=links(None))
    correction = testing.order_correction(close, 1200, currency="EUR", settlements=["EXPECTED"])
    assert correction == update_order(closed.row, KNOWN_AMOUNT, RULES).correction


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("REFUND", "PENDING"),
        ("REFUND", "EXECUTED"),
        ("REFUND", "FAILED"),
        ("REVERSAL", "EXECUTED"),
        ("DISPUTE", "PENDING"),
        ("CHARGEBACK", "EXECUTED"),
    ],
)
def test_refund_is_that_of_the_rules(kind: Any, state: Any) -> None:
    fields: Any = {"amount_minor": 500, "currency": "EUR", "payment_id": "P1"}
    paid = track(None, event("PAID", payment_status="SETTLED", at=AT, **fields), RULES).row
    back: Any = {"kind": kind, "refund_id": "R1", "payment_id": "P1"}
    (expected,) = track(paid, refunded(state, 200, at=AT, **back), RULES).refunds
    own: Any = {"provider": "acme", "link_id": "L1", "order_id": "L1", "paid_minor": 500}
    assert testing.refund("R1", 200, "EUR", kind=kind, state=state, **own) == expected


def test_anomaly_is_that_of_the_rules() -> None:
    fields: Any = {"payment_status": "SETTLED", "received_minor": 700, "coverage": "OVERPAID"}
    paid = event("PAID", amount_minor=500, currency="EUR", payment_id="P1", at=AT, **fields)
    (expected,) = track(None, paid, RULES).anomalies
    detail = expected["detail"]
    assert testing.anomaly("OVERPAID", "L1", detail, provider="acme") == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: testing.order_close(amount_minor=cast("int", "12.00")),
        lambda: testing.order_close(amount_minor=2**63),
        lambda: testing.anomaly(cast("Any", "NO_SUCH_KIND")),
        lambda: testing.refund(kind=cast("Any", "GIFT")),
        lambda: testing.settlement(kind=cast("Any", "PROMISED")),
    ],
)
def test_value_that_does_not_fit_the_schema_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises((BadRecord, TypeError)):
        make()


def test_unknown_field_and_a_time_in_milliseconds_are_refused() -> None:
    with pytest.raises(BadRecord, match="would be read as"):
        checked(ORDER_CLOSE, cast("OrderClose", {**testing.order_close(), "total": 12}))
    with pytest.raises(BadTime):
        testing.order_close(decided_at=AT // 1000)


def test_same_event_has_the_same_id_and_another_one_another() -> None:
    close = testing.order_close("O1")
    assert close["event_id"] == testing.order_close("O1", 900)["event_id"]
    others: list[OrderClose | Refund] = [
        testing.order_close("O2"),
        testing.order_close("O1", provider="ipint"),
        testing.refund("R1"),
        testing.refund("R2"),
        testing.refund("R1", state="RETURNED"),
    ]
    assert len({close["event_id"], *(one["event_id"] for one in others)}) == 6


@pytest.mark.parametrize("status", ["CREATED", "EXPIRED", "PAID"])
def test_row_of_a_link_is_that_of_the_rules(status: Status) -> None:
    proof = event(status, source="lookup", at=AT, amount_minor=1200, currency="SEK")
    expected = track(
        track(None, registration("O1", AT, amount_minor=1200, currency="SEK"), RULES).row,
        proof,
        RULES,
    ).row
    row = testing.link_status("L1", status, provider="acme", payment_id=None)
    assert row == expected
    assert (row["status"], row["order_id"], row["amount_minor"]) == (status, "O1", 1200)


def test_link_without_an_order_is_its_own() -> None:
    assert testing.link_status("L1", order_id=None)["order_id"] == "L1"


@pytest.mark.parametrize("amount", ["12.00", 12.5])
def test_amount_that_is_no_whole_number_is_refused(amount: Any) -> None:
    with pytest.raises(BadRecord):
        testing.order_close("O1", amount)
    with pytest.raises(BadRecord):
        testing.order_correction(testing.order_close("O1", None), amount)
    with pytest.raises(BadRecord):
        testing.refund("R1", amount)
