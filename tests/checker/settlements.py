"""Settlements: each follows from a close, with its money, once its step was reached."""

from collections.abc import Iterator, Mapping

from tests.checker.findings import WRONG_SETTLEMENT, Findings, finding
from tests.checker.history import CLOSES, SETTLEMENTS, UPDATES, History, Record
from tests.checker.order_state import Order

# Of a provider that settles by order: the kind, and the reported step that it follows from.
_BY_ORDER = {"REQUESTED": "CLOSED", "CONFIRMED": "SETTLED"}


def check_settlements(history: History, order: Order) -> Findings:
    settlements = order.settlements
    if settlements and not order.closes and history.is_whole(CLOSES):
        lines = [record.line for record in settlements]
        yield finding(WRONG_SETTLEMENT, order.key, "a settlement without a close", lines)
    if not order.closes or not (history.is_whole(SETTLEMENTS) and history.is_whole(UPDATES)):
        return
    lines = [order.closes[0].line, *(record.line for record in settlements)]
    provider = history.connection(order.key.partition(":")[0]).provider
    for text in (*_wrong_kinds(provider, order), *_wrong_money(order)):
        yield finding(WRONG_SETTLEMENT, order.key, text, lines)


def _wrong_kinds(provider: str, order: Order) -> Iterator[str]:
    kinds, steps = {record.value["kind"] for record in order.settlements}, order.steps
    if provider == "ping":
        if kinds != {kind for kind, step in _BY_ORDER.items() if step in steps}:
            yield f"{sorted(kinds)} after the steps {sorted(steps)}"
        return
    if not kinds or not kinds <= {"EXPECTED", "CONFIRMED"}:
        yield f"{sorted(kinds)} instead of EXPECTED or CONFIRMED"
    is_settled = "SETTLED" in steps or (provider == "truelayer" and _is_settled(order))
    if "CONFIRMED" in kinds and not is_settled:
        yield "CONFIRMED, and not settled"


def _is_settled(order: Order) -> bool:
    """Whether each closed link has a payment that the provider has settled."""
    closed = {link["link_id"] for link in order.closes[0].value["links"]}
    return all(
        any(event["payment_status"] == "SETTLED" for event in link.counted)
        for link in order.links
        if link.key.partition(":")[2] in closed
    )


def _wrong_money(order: Order) -> Iterator[str]:
    """A settlement has the amount of the close, or of a correction before it."""
    stated: list[Record] = [order.closes[0], *order.corrections]
    amounts = {(record.value["total_minor"], record.value["currency"]) for record in stated}
    payments = {payment for link in order.paid for payment in link.row["payment_ids"]}
    for record in order.settlements:
        kind, amount = record.value["kind"], _amount(record.value)
        if amount not in amounts:
            yield f"{kind} of {amount}, the close has {sorted(amounts, key=repr)}"
        if not payments.issuperset(record.value["payment_ids"]):
            yield f"{kind} of payments {record.value['payment_ids']}, paid were {sorted(payments)}"


def _amount(settlement: Mapping[str, object]) -> tuple[object, object]:
    return settlement["amount_minor"], settlement["currency"]
