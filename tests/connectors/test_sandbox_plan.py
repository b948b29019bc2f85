"""Plays: predictable, of every kind of life, and with one right answer in any order of arrival."""

from hypothesis import given
from hypothesis import strategies as st

from connectors.registry import PROVIDERS
from connectors.sandbox.plan import Scenario, plan
from connectors.sandbox.sites import sandbox_of
from schemas.records import ENDED


def outcomes(scenario: Scenario) -> list[tuple[str, str]]:
    return [(link.provider, link.outcome) for link in scenario.links]


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan(50, 7, "a") == plan(50, 7, "a")
    assert outcomes(plan(50, 7)) != outcomes(plan(50, 8))


def test_another_run_has_other_ids_and_the_same_lives() -> None:
    one, other = plan(50, 7, "a"), plan(50, 7, "b")
    assert outcomes(one) == outcomes(other)
    assert {link.link_id for link in one.links}.isdisjoint(link.link_id for link in other.links)


def test_every_provider_has_a_paid_link_and_in_time_every_life() -> None:
    assert outcomes(plan(len(PROVIDERS), 1)) == [(name, "paid") for name in PROVIDERS]
    assert set(outcomes(plan(2000, 1))) == {
        (name, outcome) for name in PROVIDERS for outcome in sandbox_of(name).LIVES
    }


def test_callbacks_come_late_repeated_and_out_of_order() -> None:
    times = [link.times for link in plan(200, 3).links if len(link.words) > 1]
    assert any(len(copies) > 1 for link in times for copies in link)
    assert any(min(link[1]) > max(link[2]) for link in times)


@given(st.integers(0, 60), st.integers())
def test_a_plan_has_one_right_answer(links: int, seed: int) -> None:
    scenario = plan(links, seed)
    assert len({(link.provider, link.link_id) for link in scenario.links}) == links
    assert len(scenario.expected_links) == links
    for link in scenario.links:
        life = sandbox_of(link.provider).LIVES[link.outcome]
        assert len(link.times) == 1 + len(link.words)
        assert link.registration is not None or life.heard
        merchants = link.registration and link.registration.get("order_id")
        # Where several links share an order, none has a life in which arrival could decide.
        if merchants and link.registration and link.registration["links_in_order"] == 2:
            assert life.anomalies == ()
            members = [other for other in scenario.links if other.order_id == link.order_id]
            assert len(members) == 2


@given(st.integers())
def test_an_order_closes_when_a_link_is_paid_and_none_is_open(seed: int) -> None:
    scenario = plan(60, seed)
    status = {(link.provider, link.link_id): link.status for link in scenario.expected_links}
    for order in scenario.expected_orders:
        assert bool(order.closed_links) == bool(order.settlements)
        for link_id in order.closed_links:
            assert status[order.provider, link_id] == ("PAID",)
    closed = {
        (order.provider, link) for order in scenario.expected_orders for link in order.closed_links
    }
    shared = {
        (o.provider, o.order_id): [e for e in scenario.expected_links if e.order_id == o.order_id]
        for o in scenario.expected_orders
    }
    for (provider, _), members in shared.items():
        if all(ENDED.issuperset(member.status) for member in members):
            paid = {(provider, m.link_id) for m in members if m.status == ("PAID",)}
            assert paid <= closed
