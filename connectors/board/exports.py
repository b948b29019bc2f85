"""The lists as CSV: whole, as they were at one moment, in bounded memory."""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.board import lists
from connectors.board.board import Board
from connectors.board.database.paging import Cursor
from connectors.board.export_columns import (
    ANOMALIES,
    DEAD_LETTERS,
    LINKS,
    MONEY,
    NOTICES,
    ORDERS,
    RECONCILIATIONS,
    Columns,
    by_currency,
)
from connectors.board.http import csv_text, parameters

# So many rows of a list are in memory at a time.
_ROWS = 500


class Busy(Exception):
    """As many exports run as may run at once."""


@dataclass(frozen=True, slots=True)
class Export:
    """A list with its parameters and its columns; `split` makes several rows of one."""

    query: type[parameters.Parameters]
    rows: lists.ListOf
    columns: Columns
    split: Callable[[Any], Iterable[Any]] = lambda row: (row,)


EXPORTS: Mapping[str, Export] = {
    "links": Export(parameters.LinkFilter, lists.of_links, LINKS),
    "orders": Export(parameters.OrderFilter, lists.of_orders, ORDERS),
    "anomalies": Export(parameters.AnomalyList, lists.of_anomalies, ANOMALIES),
    "dead-letters": Export(parameters.DeadLetterList, lists.of_dead_letters, DEAD_LETTERS),
    "notices": Export(parameters.NoticeFilter, lists.of_notices, NOTICES),
    "reconciliations": Export(
        *(parameters.ReconciliationFilter, lists.of_reconciliations, RECONCILIATIONS, by_currency)
    ),
    "money": Export(parameters.MoneyFilter, lists.of_money, MONEY),
}


def lines(board: Board, export: Export, query: parameters.Parameters) -> Generator[str]:
    """Return the parts of the CSV. Blocking; holds a connection until it ends or is closed. Raises
    Busy and StoreUnavailable, the former before the first part.
    """
    if not board.export_slots.acquire(blocking=False):
        raise Busy
    try:
        yield csv_text.text([export.columns])
        with board.store.snapshot() as store:
            after: Cursor | None = None
            while True:
                page = export.rows(store, board.providers, query, _ROWS, after)
                rows = (row for whole in page.rows for row in export.split(whole))
                yield csv_text.text(
                    [column(row) for column in export.columns.values()] for row in rows
                )
                after = page.next
                if after is None:
                    return
    finally:
        board.export_slots.release()
