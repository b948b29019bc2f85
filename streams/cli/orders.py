"""`linkstatus orders`: the orders, and why they are not closed."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from schemas.records import OrderState
from streams.cli import tables
from streams.cli.arguments import Json, Limit, OfProvider, Since, Until
from streams.cli.board_client import Board

if TYPE_CHECKING:
    from rich.table import Table

_Party = Literal["any", "person", "provider", "service"]


def orders(
    provider: OfProvider = None,
    state: Annotated[
        OrderState | None,
        typer.Option(help="Only this state.", case_sensitive=False, metavar="STATE"),
    ] = None,
    waiting: Annotated[
        bool,
        typer.Option("--waiting", help="Only orders that wait for more than their payer."),
    ] = False,
    waits_for: Annotated[
        _Party | None, typer.Option("--for", help="Only orders that wait for this party.")
    ] = None,
    since: Since = "",
    until: Until = "",
    limit: Limit = 20,
    json: Json = False,
) -> None:
    """List the orders on the board, latest change first, and say why each is not closed.

    With `--waiting` or `--for`, the one that has waited longest comes first. An order waits for a
    person, for its provider, or for a service of yours or ours.

        linkstatus orders --waiting
    """
    party = waits_for or ("any" if waiting else None)
    options = {"provider": provider, "state": state, "waits_for": party}
    options |= {"since": since, "until": until}
    with Board() as board:
        tables.print_rows(board.rows("orders", options, limit), _table, json=json)


def _table(orders: list[dict[str, Any]]) -> "Table":
    table = tables.grid("age", "provider", "order", "state", "total")
    for name in (0, 1, 3, 4):
        table.columns[name].no_wrap = True
    now = datetime.now(UTC)
    for order in orders:
        waiting = order["waiting"]
        table.add_row(
            tables.age(waiting["since"] if waiting else order["changed_at"], now),
            order["provider"],
            tables.text(order["order_id"]),
            order["state"].replace("_", " "),
            tables.money(order["total_minor"], order["currency"]),
        )
        if waiting:
            table.add_row("", "", tables.text(waiting["reason"], "yellow"))
    return table
