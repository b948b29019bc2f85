"""Payouts of the sandbox: which orders each provider pays out, and what it gets wrong."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from connectors.providers.payout_sandbox import Share, pay_out
from connectors.providers.simulator import Simulator
from schemas.payouts import ReconciliationOutcome

ERROR_MINOR = 100


class PaidOrder(NamedTuple):
    """An order of a provider whose links are paid."""

    provider: str
    order_id: str
    links: tuple[str, ...]


class ExpectedPayout(NamedTuple):
    """What a reconciliation must find out about an order."""

    provider: str
    order_id: str
    outcome: ReconciliationOutcome


def plan(orders: Sequence[PaidOrder]) -> list[ExpectedPayout]:
    """Return what becomes of the orders: of each provider's, the last one is missing if there are
    two, and the one before it has a wrong amount if there are three.
    """
    expected = []
    for provider in dict.fromkeys(order.provider for order in orders):
        own = sorted(order.order_id for order in orders if order.provider == provider)
        for place, order_id in enumerate(own, 1):
            outcome: ReconciliationOutcome = "MATCHED"
            if place == len(own) > 1:
                outcome = "MISSING"
            elif place == len(own) - 1 > 1:
                outcome = "AMOUNT_DIFFERS"
            expected.append(ExpectedPayout(provider, order_id, outcome))
    return expected


def pay_out_orders(
    simulators: Mapping[str, Simulator], orders: Sequence[PaidOrder], now: int
) -> list[ExpectedPayout]:
    """Pay the orders out, one payout a provider, and return the plan. Raises KeyError if there is
    no such provider or link.
    """
    expected = plan(orders)
    outcomes = {(e.provider, e.order_id): e.outcome for e in expected}
    shares: dict[str, list[Share]] = {}
    for order in orders:
        of_provider = shares.setdefault(order.provider, [])
        outcome = outcomes[order.provider, order.order_id]
        for number, link_id in enumerate(order.links):
            wrong = outcome == "AMOUNT_DIFFERS" and number == 0
            if outcome != "MISSING":
                of_provider.append(Share(link_id, ERROR_MINOR if wrong else 0))
    for provider, of_provider in shares.items():
        pay_out(simulators[provider], of_provider, now)
    return expected
