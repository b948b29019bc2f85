"""Payouts of the sandbox: which orders are paid out, and what each provider gets wrong."""

import pytest

from connectors.providers.registry import PROVIDERS
from connectors.sandbox.payouts import ERROR_MINOR, PaidOrder, pay_out_orders, plan
from tests.connectors.sandbox.sandboxes import NOW, Simulated

PAID = ("completed",)


def orders(*names: str, provider: str = "peach") -> list[PaidOrder]:
    return [PaidOrder(provider, name, (f"link-{name}",)) for name in names]


@pytest.mark.parametrize(
    ("names", "outcomes"),
    [
        ("", []),
        ("a", ["MATCHED"]),
        ("ab", ["MATCHED", "MISSING"]),
        ("cab", ["MATCHED", "AMOUNT_DIFFERS", "MISSING"]),
        ("abcd", ["MATCHED", "MATCHED", "AMOUNT_DIFFERS", "MISSING"]),
    ],
)
def test_last_orders_of_a_provider_go_wrong(names: str, outcomes: list[str]) -> None:
    both = [*orders(*names), *orders(*names, provider="ping")]
    for provider in ("peach", "ping"):
        expected = [e for e in plan(both) if e.provider == provider]
        assert [e.outcome for e in expected] == outcomes
        assert [e.order_id for e in expected] == sorted(names)


def test_payout_has_whole_and_wrong_orders_and_a_stranger() -> None:
    simulated = Simulated("peach")
    for name in "abc":
        simulated.create(*PAID, link_id=f"link-{name}", amount_minor=10_000)
    pay_out_orders({"peach": simulated.sandbox}, orders(*"abc"), NOW)
    (payout,) = simulated.sandbox.state.all("payout")
    assert [(item["link_id"], item["amount"]) for item in payout["items"]] == [
        ("link-a", 10_000),
        ("link-b", 10_000 + ERROR_MINOR),
        (None, 100),
    ]


def test_unknown_order_is_an_error() -> None:
    simulators = {name: Simulated(name).sandbox for name in PROVIDERS}
    with pytest.raises(KeyError, match="link-a"):
        pay_out_orders(simulators, orders("a"), NOW)
