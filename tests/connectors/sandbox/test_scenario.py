"""Scenarios: predictable, with all lifecycles, and with one expected result in any order."""

from hypothesis import given
from hypothesis import strategies as st

from connectors.providers.registry import PROVIDERS
from connectors.sandbox.config import simulator_of
from connectors.sandbox.scenario import Scenario, build_scenario
from schemas.records import ENDED


def outcomes(scenario: Scenario) -> list[tuple[str, str]]:
    return [(link.provider, link.outcome) for link in scenario.links]


def test_same_seed_builds_the_same_scenario() -> None:
    assert build_scenario(50, 7, "a") == build_scenario(50, 7, "a")
    assert outcomes(build_scenario(50, 7)) != outcomes(build_scenario(50, 8))


def test_another_run_changes_only_the_ids() -> None:
    first, second = build_scenario(50, 7, "a"), build_scenario(50, 7, "b")
    assert outcomes(first) == outcomes(second)
    assert {link.link_id for link in first.links}.isdisjoint(link.link_id for link in second.links)


def test_scenario_contains_every_lifecycle() -> None:
    assert outcomes(build_scenario(len(PROVIDERS), 1)) == [(name, "paid") for name in PROVIDERS]
    assert set(outcomes(build_scenario(2000, 1))) == {
        (name, outcome) for name in PROVIDERS for outcome in simulator_of(name).LIFECYCLES
    }


def test_accounts_of_a_provider_play_like_providers_and_share_an_id() -> None:
    accounts = {"ping": "ping", "ping_se": "ping", "peach_za": "peach", "peach_ke": "peach"}
    scenario = build_scenario(40, 1, connections=accounts)
    assert outcomes(scenario)[:4] == [(name, "paid") for name in accounts]
    assert {link.provider: link.kind for link in scenario.links} == accounts
    ids = [link.link_id for link in scenario.links]
    assert (ids[0], ids[2]) == (ids[1], ids[3])
    assert len(set(ids)) == 38
    assert len({(link.provider, link.link_id) for link in scenario.expected_links}) == 40
    closed = [o for o in scenario.expected_orders if set(o.closed_links) & {ids[0], ids[2]}]
    assert sorted(order.provider for order in closed) == sorted(accounts)


def test_callbacks_are_late_repeated_and_out_of_order() -> None:
    delays = [link.delays for link in build_scenario(200, 3).links if len(link.steps) > 1]
    assert any(len(copies) > 1 for link in delays for copies in link)
    assert any(min(link[1]) > max(link[2]) for link in delays)


@given(st.integers(0, 60), st.integers())
def test_scenario_has_one_expected_result(links: int, seed: int) -> None:
    scenario = build_scenario(links, seed)
    assert len({(link.provider, link.link_id) for link in scenario.links}) == links
    assert len(scenario.expected_links) == links
    for link in scenario.links:
        assert len(link.delays) == 1 + len(link.steps)
        assert link.registration is not None or link.lifecycle.has_callbacks
        # In a shared order, no link has a lifecycle whose result depends on the arrival order.
        if link.registration and link.registration.get("links_in_order") == 2:
            assert link.lifecycle.anomalies == ()
            members = [other for other in scenario.links if other.order_id == link.order_id]
            assert len(members) == 2


@given(st.integers())
def test_order_closes_when_a_link_is_paid_and_none_is_open(seed: int) -> None:
    scenario = build_scenario(60, seed)
    for order in scenario.expected_orders:
        members = [
            link
            for link in scenario.expected_links
            if order.order_id == (link.order_id or link.link_id) and order.provider == link.provider
        ]
        paid = {link.link_id for link in members if link.status == ("PAID",)}
        closes = bool(paid) and all(ENDED.issuperset(link.status) for link in members)
        assert set(order.closed_links) == (paid if closes else set())
        assert bool(order.settlements) == bool(order.closed_links)
