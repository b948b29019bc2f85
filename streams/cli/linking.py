"""The commands for links: `links add` those you created, `links list` those that are known."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli import completing

if TYPE_CHECKING:
    from rich.table import Table

links = typer.Typer(help="Links: register yours, list what is known.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.add_typer(links, name="links", rich_help_panel="Use")


@links.command()
def add(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8; its first line names the columns.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be rejected.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One object: how many, and the `rejected` lines.")
    ] = False,
) -> None:
    """Registers the links of a CSV file, as POST /links does: one a row.

    Columns: provider, link_id, and if you like order_id, amount (major units, with its currency),
    currency, expires_at (RFC 3339), links_in_order. Rows that are wrong are named with their line
    and the reason, all others are registered; the command then ends with 1.

        linkstatus links add links.csv --dry-run
    """
    from connectors.clock import micros_now
    from connectors.registry import PROVIDERS
    from streams import registrations, running, schema_ids
    from streams.cli.errors import Failed
    from streams.cli.terminal import as_json, counting, harmless, say

    rows = registrations.read(file, PROVIDERS, micros_now())
    rejected = [row for row in rows if row.link is None]
    for row in () if json else rejected:
        print(harmless(f"line {row.line}: {row.reason}"))
    good = [row.link for row in rows if row.link is not None]
    if not dry_run:
        settings = running.settings()
        schema_ids.prepare(settings)
        with counting("registering", len(good)) as advance:
            for more in registrations.publish(settings.cluster(), good):
                advance(more)
    if json:
        lines = [{"line": row.line, "reason": row.reason} for row in rejected]
        kept = 0 if dry_run else len(good)
        print(as_json({"good": len(good), "registered": kept, "rejected": lines}))
    say(f"{len(good)} {'good' if dry_run else 'registered'}, {len(rejected)} rejected")
    if rejected:
        raise Failed("not every row is a link that can be registered")


@links.command("list")
def list_(
    provider: Annotated[
        str | None, typer.Option(help="Only of this one.", autocompletion=completing.providers)
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(help="Only these: PAID, PROCESSING, …", autocompletion=completing.statuses),
    ] = None,
    order: Annotated[str | None, typer.Option(help="Only of the order of this id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """The links the board knows, what changed last first.

    A line below a link names its anomalies.

        linkstatus links list --provider ping --status PROCESSING --limit 100
    """
    from streams import running
    from streams.cli import drawing
    from streams.cli.asking import Board
    from streams.cli.terminal import as_json, say

    named = {"provider": provider, "status": status and status.upper(), "order_id": order}
    with Board(running.settings()) as board:
        asked = {name: value for name, value in named.items() if value}
        found = list(board.rows("links", asked, limit))
    if json:
        for link in found:
            print(as_json(link))
    elif found:
        drawing.console().print(_table(found))
    else:
        say("none")


def _table(found: list[dict[str, Any]]) -> "Table":
    """One line a link, and one below it for its anomalies."""
    from datetime import UTC, datetime

    from streams.cli.drawing import asked, grid, moment, roughly, status_style, text

    table = grid("age", "provider", "link", "status", "amount")
    for column in table.columns:
        column.no_wrap = True
    now = datetime.now(UTC)
    for link in found:
        changed = moment(link["changed_at"])
        table.add_row(
            roughly(now - changed) if changed else "",
            link["provider"],
            text(link["link_id"]),
            text(link["status"], status_style(link["status"])),
            asked(link),
        )
        if link["anomalies"]:
            table.add_row("", "", text("! " + " ".join(link["anomalies"]), "bold red"))
    return table
