"""All checks of a history."""

from tests.checker.delivery import check_delivery
from tests.checker.findings import Finding
from tests.checker.history import History
from tests.checker.orders import check_orders
from tests.checker.reads import check_reads
from tests.checker.rows import check_rows, link_states


def check(history: History) -> list[Finding]:
    """Return everything that is wrong with what the history shows."""
    states = link_states(history)
    return [
        *check_delivery(history),
        *check_rows(history, states),
        *check_orders(history, states),
        *check_reads(history),
    ]
