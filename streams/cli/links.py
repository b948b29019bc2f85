"""`linkstatus links`: register your links, list the known ones."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from schemas.records import Status
from streams.cli import tables
from streams.cli.arguments import (
    DryRun,
    Json,
    Limit,
    OfProvider,
    OneJson,
    Provider,
    Since,
    Until,
)
from streams.cli.board_client import Board, unknown_link
from streams.cli.errors import Failed
from streams.cli.terminal import harmless, print_json, progress, say
from streams.local import data_folder

if TYPE_CHECKING:
    from rich.table import Table

links = typer.Typer(
    name="links", help="Register your links, list the known ones.", no_args_is_help=True
)


@links.command()
def add(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8; its first line names the columns.")],
    dry_run: DryRun = False,
    json: OneJson = False,
) -> None:
    """Register the links of a CSV file, one a row, as POST /links does.

    Columns: provider, link_id; optional: order_id, amount (major units, with its currency),
    currency, expires_at (RFC 3339), links_in_order. The command names each wrong row with its line
    and the reason, registers all others, and then ends with exit code 1.

        linkstatus links add links.csv --dry-run
    """
    from connectors.clock import micros_now
    from connectors.receive import csv_file
    from streams import wiring

    settings = data_folder.settings()
    rows = csv_file.read(file, settings.provider_names(), micros_now())
    good = [row.link for row in rows if row.link is not None]
    rejected = [{"line": row.line, "reason": row.reason} for row in rows if row.link is None]
    if not json:
        for row in rejected:
            print(harmless(f"line {row['line']}: {row['reason']}"))
    if not dry_run:
        codecs = wiring.codecs(settings)
        with progress("registering", len(good)) as advance:
            csv_file.publish(settings.cluster(), codecs, good, advance)
    if json:
        registered = 0 if dry_run else len(good)
        print_json({"good": len(good), "registered": registered, "rejected": rejected})
    say(f"{len(good)} {'good' if dry_run else 'registered'}, {len(rejected)} rejected")
    if rejected:
        raise Failed("some rows are not links that can be registered")


@links.command("lookup")
def look_up(
    provider: Provider,
    link_id: Annotated[str, typer.Argument(help="The provider's id of the link.")],
    json: OneJson = False,
) -> None:
    """Request a lookup of a link that the board knows, and do not wait for its answer.

    No callback reports a refund at Ping, for example. Needs LINKSTATUS_BOARD__TOKEN.

        linkstatus links lookup ping a25cdd3b-f95f-4861-87e4-1ca0a6be748e
    """
    with Board() as board:
        answer = board.post(f"/links/{provider}/{quote(link_id, safe='')}/lookup", {})
    if answer is None:
        raise unknown_link(provider, link_id)
    if json:
        print_json(answer)
    say(f"requested a lookup of {harmless(link_id)} at {provider}")


@links.command("list")
def list_(
    provider: OfProvider = None,
    status: Annotated[
        Status | None,
        typer.Option(help="Only this status.", case_sensitive=False, metavar="STATUS"),
    ] = None,
    order: Annotated[str | None, typer.Option(help="Only the order of this id.")] = None,
    since: Since = "",
    until: Until = "",
    limit: Limit = 20,
    json: Json = False,
) -> None:
    """List the links on the board, latest change first.

    Lines below a link name its anomalies, and why its order is not closed.

        linkstatus links list --provider ping --status PROCESSING --limit 100
    """
    options = {"provider": provider, "status": status, "order_id": order}
    options |= {"since": since, "until": until}
    with Board() as board:
        tables.print_rows(board.rows("links", options, limit), _table, json=json)


def _table(links: list[dict[str, Any]]) -> "Table":
    table = tables.grid("age", "provider", "link", "status", "amount")
    for column in (*table.columns[:2], *table.columns[3:]):  # an id is never cut
        column.no_wrap = True
    now = datetime.now(UTC)
    for link in links:
        table.add_row(
            tables.age(link["changed_at"], now),
            link["provider"],
            tables.text(link["link_id"]),
            tables.text(link["status"], tables.status_style(link["status"])),
            tables.amount(link),
        )
        if link["anomalies"]:
            anomalies = tables.text("! " + " ".join(link["anomalies"]), "bold red")
            table.add_row("", "", anomalies)
        if link["waiting"]:
            table.add_row("", "", tables.text(link["waiting"]["reason"], "yellow"))
    return table
