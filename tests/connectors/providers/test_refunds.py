"""Refunds in the answers of lookups, and payouts that belong to a payment or to none."""

import json

import pytest

from connectors.providers.base import ApiRequest, ApiResponse
from connectors.providers.peach import checkout
from tests.connectors.providers import golden
from tests.connectors.providers.exchanges import look_up, ping

LINK = {"payment_link_id": "a/link?", "status": "COMPLETED", "payment_order_id": "o"}
PAID = {**LINK, "payment_id": "p/1"}


@pytest.mark.parametrize(
    ("link", "order", "payment", "expected"),
    [
        (PAID, {"payments": []}, ApiResponse(200, b'{"id": 1}'), None),
        (LINK, {}, ApiResponse(200, b'{"id": 1}'), None),
        (PAID, {}, ApiResponse(200, b'{"id": 1}'), {"id": 1}),
        (PAID, {}, ApiResponse(404), None),
        # The status of the link does not wait for its refunds.
        (PAID, {}, ApiResponse(403), None),
        (PAID, {}, ApiResponse(500), None),
    ],
    ids=["in the order", "unpaid", "asked for", "not found", "forbidden", "away"],
)
def test_ping_asks_for_a_payment_that_its_order_does_not_show(
    link: dict[str, str], order: dict[str, object], payment: ApiResponse, expected: object
) -> None:
    def respond(request: ApiRequest) -> ApiResponse:
        if "/payment_links/" in request.url:
            return ApiResponse(200, json.dumps(link).encode())
        if request.url.endswith("/payments/api/v1/payment_orders/o/payments/p%2F1"):
            return payment
        return ApiResponse(200, json.dumps(order).encode())

    answer, sent = look_up(ping(), respond)
    assert json.loads(answer.body).get("payment") == expected
    assert len(sent) == (3 if link is PAID and not order else 2)
    assert answer.ended == (link is PAID)


def test_every_payment_type_that_takes_money_back_is_named() -> None:
    assert checkout.REFUNDS.keys() == {"RF", "RV", "CB", "CR"}
    outcomes = {word for _, word in checkout.OUTCOMES} | {"rejected"}
    assert outcomes <= checkout._STATES.keys()


def test_payout_that_names_no_payment_is_a_notice() -> None:
    (case,) = [c for c in golden.cases("truelayer") if c.file.stem == "payout_executed"]
    facts = case.instance().read(case.raw())
    assert [notice["kind"] for notice in facts.notices] == ["payout_executed"]
    assert (facts.events, facts.payments) == ((), ())


@pytest.mark.parametrize("spelling", ["2024-01-20T10:00:00.000Z", "2024-01-20T11:00:00+01:00"])
def test_ping_refund_is_one_in_each_spelling_of_its_time(spelling: str) -> None:
    (case,) = [c for c in golden.cases("ping") if c.file.stem == "lookup-refunded-one"]
    body = case.raw().body.replace(b"2024-01-20T10:00:00Z", spelling.encode())
    assert body != case.raw().body
    assert golden.facts(case.instance(), case.raw(body=body)) == case.expected
