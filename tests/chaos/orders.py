"""Checks of orders: each is closed if and only if it must be, once, and settled step by step."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from connectors.providers.base import Provider
from connectors.sandbox.scenario import SETTLED_AS
from tests.chaos.evidence import Evidence
from tests.chaos.expectation import Expectation
from tests.chaos.problems import Problems
from tests.chaos.sandbox import Doc

Order = tuple[str, str]
_STEPS = ["close", "split", "settle"]


def check_orders(
    problems: Problems,
    expected: Expectation,
    planned: Iterable[Doc],
    evidence: Evidence,
    providers: Mapping[str, Provider],
) -> None:
    closable = expected.orders()
    closes = {_order(close): close for close in evidence.closes}
    for order in closable.keys() - closes.keys():
        problems.lost.append(f"order {order} was never closed")
    for order in closes.keys() - closable.keys():
        problems.wrong.append(f"order {order} was closed and must not be")
    for order in closes.keys() & closable.keys():
        links = sorted(link["link_id"] for link in closes[order]["links"])
        if links != closable[order]:
            problems.wrong.append(f"order {order} closed with {links}, not {closable[order]}")
    for plan in planned:
        order, links = _order(plan), plan["closed_links"]
        if closable.get(order, []) != sorted(links):
            problems.wrong.append(f"order {order}: {closable.get(order)}, the plan has {links}")
    _check_once(problems, "close", evidence.closes, _order)
    _check_once(problems, "settlement", evidence.settlements, lambda s: (*_order(s), s["kind"]))
    problems.lost += _unsettled(closes.keys(), evidence, providers)
    _check_steps(problems, closes.keys(), evidence)


def _order(record: Mapping[str, Any]) -> Order:
    return record["provider"], record["order_id"]


def _check_once(
    problems: Problems, what: str, records: Sequence[Any], key: Callable[[Any], tuple[str, ...]]
) -> None:
    """Each key has one decision. The same record again is only a repeat."""
    keys = {repr(record): key(record) for record in records}
    problems.repeats += len(records) - len(keys)
    for decided, count in Counter(keys.values()).items():
        if count > 1:
            problems.duplicated.append(f"{count} different {what} records of {decided}")


def _unsettled(
    closed: Iterable[Order], evidence: Evidence, providers: Mapping[str, Provider]
) -> Iterator[str]:
    settled: dict[Order, set[str]] = {}
    for settlement in evidence.settlements:
        settled.setdefault(_order(settlement), set()).add(settlement["kind"])
    for order in closed:
        must, may = SETTLED_AS[providers[order[0]].settlement]
        kinds = settled.pop(order, set())
        if not must <= kinds <= must | may:
            yield f"settlement of {order}: {sorted(kinds)}, must be {sorted(must)}"
    for order, kinds in settled.items():
        yield f"settlement of {order}, which is not closed: {sorted(kinds)}"


def _check_steps(problems: Problems, closed: Iterable[Order], evidence: Evidence) -> None:
    """Ping itself saw each closed order closed, split and settled, and no other order."""
    steps: dict[str, list[str]] = {}
    for operation in evidence.operations:
        if operation["answer"] == 204 and not operation["repeated"]:
            steps.setdefault(operation["order_id"], []).append(operation["operation"])
    for provider, order_id in closed:
        if provider == "ping":
            seen = steps.pop(order_id, [])
            if seen != _STEPS:
                problems.lost.append(f"Ping saw {seen} of order {order_id}")
            state = evidence.orders.get((provider, order_id), {}).get("state")
            if state != "SETTLED":
                problems.lost.append(f"Ping order {order_id} is {state} in the topic orders")
    for order_id, seen in steps.items():
        problems.wrong.append(f"Ping saw {seen} of order {order_id}, which is not closed")
