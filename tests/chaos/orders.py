"""Orders: closed when and only when they must be, once, and settled in the right order of steps."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from connectors.provider import Provider
from tests.chaos.evidence import Evidence
from tests.chaos.expectation import Expectation, settlements
from tests.chaos.sandboxing import Doc

Order = tuple[str, str]
_STEPS = ["close", "split", "settle"]


class Findings(Protocol):
    lost: list[str]
    doubled: list[str]
    wrong_rows: list[str]
    repeats: int


def check_orders(
    verdict: Findings,
    expected: Expectation,
    planned: Iterable[Doc],
    found: Evidence,
    providers: Mapping[str, Provider],
) -> None:
    closable = expected.orders()
    closes = {_order(close): close for close in found.closes}
    for order in closable.keys() - closes.keys():
        verdict.lost.append(f"order {order} was never closed")
    for order in closes.keys() - closable.keys():
        verdict.wrong_rows.append(f"order {order} was closed and must not be")
    for order in closes.keys() & closable.keys():
        links = sorted(link["link_id"] for link in closes[order]["links"])
        if links != closable[order]:
            verdict.wrong_rows.append(f"order {order} closed with {links}, not {closable[order]}")
    for one in planned:
        order, links = _order(one), one["closed_links"]
        if closable.get(order, []) != sorted(links):
            verdict.wrong_rows.append(f"order {order}: {closable.get(order)}, the plan has {links}")
    _check_once(verdict, "close", found.closes, _order)
    _check_once(verdict, "settlement", found.settlements, lambda s: (*_order(s), s["kind"]))
    verdict.lost += _unsettled(closes.keys(), found, providers)
    _check_steps(verdict, closes.keys(), found)


def _order(record: Mapping[str, Any]) -> Order:
    return record["provider"], record["order_id"]


def _check_once(
    verdict: Findings, what: str, records: Sequence[Any], of: Callable[[Any], tuple[str, ...]]
) -> None:
    """One decision for each; the same record again is only a repeat."""
    contents = {repr(record): of(record) for record in records}
    verdict.repeats += len(records) - len(contents)
    for key, count in Counter(contents.values()).items():
        if count > 1:
            verdict.doubled.append(f"{count} different {what} records of {key}")


def _unsettled(
    closed: Iterable[Order], found: Evidence, providers: Mapping[str, Provider]
) -> Iterator[str]:
    told: dict[Order, set[str]] = {}
    for settlement in found.settlements:
        told.setdefault(_order(settlement), set()).add(settlement["kind"])
    for order in closed:
        must, may = settlements(providers[order[0]])
        kinds = told.pop(order, set())
        if not must <= kinds <= must | may:
            yield f"settlement of {order}: {sorted(kinds)}, must be {sorted(must)}"
    for order, kinds in told.items():
        yield f"settlement of {order}, which is not closed: {sorted(kinds)}"


def _check_steps(verdict: Findings, closed: Iterable[Order], found: Evidence) -> None:
    """The provider itself saw each closed order closed, split and settled, and no other."""
    done: dict[str, list[str]] = {}
    for operation in found.operations:
        if operation["answer"] == 204 and not operation["repeated"]:
            done.setdefault(operation["order_id"], []).append(operation["operation"])
    for provider, order_id in closed:
        if provider == "ping":
            steps = done.pop(order_id, [])
            if steps != _STEPS:
                verdict.lost.append(f"Ping saw {steps} of order {order_id}")
            state = found.orders.get((provider, order_id), {}).get("state")
            if state != "SETTLED":
                verdict.lost.append(f"Ping order {order_id} is {state} in the topic orders")
    for order_id, steps in done.items():
        verdict.wrong_rows.append(f"Ping saw {steps} of order {order_id}, which is not closed")
