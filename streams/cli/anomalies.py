"""`linkstatus anomalies`: list, resolve and reopen the cases that a person should look at."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.records import AnomalyKind
from streams.cli import marking, tables
from streams.cli.arguments import (
    By,
    DryRun,
    Json,
    Limit,
    Note,
    OfLink,
    OfProvider,
    OneJson,
    Show,
    Since,
    Until,
    Yes,
)
from streams.cli.board_client import Board
from streams.cli.terminal import print_json, say, user

if TYPE_CHECKING:
    from rich.table import Table

Kind = Annotated[
    AnomalyKind | None, typer.Option(help="Only this kind.", case_sensitive=False, metavar="KIND")
]

_RESOLVE = "/anomalies/resolve"

anomalies = typer.Typer(
    name="anomalies", help="Cases that a person should look at.", no_args_is_help=True
)


@anomalies.command("list")
def list_(
    provider: OfProvider = None,
    kind: Kind = None,
    link: OfLink = "",
    since: Since = "",
    until: Until = "",
    show: Show = "open",
    limit: Limit = 20,
    json: Json = False,
) -> None:
    """List anomalies, newest first, each with its evidence and its id.

    An anomaly is open until you resolve it.

        linkstatus anomalies list --kind UNDERPAID
    """
    with Board() as board:
        parameters = {**_conditions(provider, kind, link, since, until), "show": show}
        tables.print_rows(board.rows("anomalies", parameters, limit), _table, json=json)


@anomalies.command()
def resolve(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Ids, as `list` shows them.")
    ] = None,
    provider: OfProvider = None,
    kind: Kind = None,
    link: OfLink = "",
    since: Since = "",
    until: Until = "",
    all_: Annotated[bool, typer.Option("--all", help="Every anomaly.")] = False,
    by: By = "",
    note: Note = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    json: OneJson = False,
) -> None:
    """Resolve anomalies: they leave the list of open ones.

    The topic `notices` keeps who did it, when, and the note; the pages of the links show it. The
    command shows how many there are and asks for confirmation, unless you name each.

        linkstatus anomalies resolve --kind STALE --note "asked ping" --dry-run
    """
    conditions = _conditions(provider, kind, link, since, until)
    if bool(ids) + (all_ or bool(conditions)) != 1:
        raise typer.BadParameter(
            "name the anomalies, or choose some with --kind, --provider, --link, --since, --until, "
            "or all of them with --all"
        )
    named = [{"event_id": one} for one in dict.fromkeys(ids or ())]
    # The command marks what it counts: later anomalies are left out.
    requests = named or [{"until": datetime.now(UTC).isoformat(), **conditions}]
    action = {"by": by or user(), "note": note}
    with Board() as board:

        def publish() -> int:
            replies = (board.post(_RESOLVE, {**one, **action}) for one in requests)
            return sum(reply["marked"] for reply in replies)

        count = sum(board.get(_RESOLVE, **one)["count"] for one in requests)
        selection = marking.Selection(("anomaly", "anomalies"), count, len(named), publish)
        marking.mark("resolve", selection, dry_run=dry_run, yes=yes, json=json)


@anomalies.command()
def reopen(
    ids: Annotated[
        list[str], typer.Argument(metavar="ID", help="Ids, as `list --show resolved` shows them.")
    ],
    by: By = "",
    note: Note = "",
    json: OneJson = False,
) -> None:
    """Reopen anomalies that were resolved.

    They return to the list of open ones; the topic `notices` keeps who did it, when, and the note.

        linkstatus anomalies reopen 3f2c9a --note "no refund arrived"
    """
    named = list(dict.fromkeys(ids))
    action = {"by": by or user(), "note": note}
    with Board() as board:
        replies = [board.post("/anomalies/reopen", {"event_id": id_, **action}) for id_ in named]
    marked = sum(reply["marked"] for reply in replies)
    say(f"{marked} reopened")
    if json:
        print_json({"marked": marked})
    marking.require_all(len(named), marked, "resolved")


def _conditions(*values: str | None) -> dict[str, str]:
    names = ("provider", "kind", "link", "since", "until")
    return {name: value for name, value in zip(names, values, strict=True) if value}


def _table(anomalies: list[dict[str, Any]]) -> "Table":
    table = tables.grid("age", "provider", "anomaly")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    now = datetime.now(UTC)
    for one in anomalies:
        mark = one["resolved"]
        head = tables.text(f"{one['kind']}  {one['link_id']}", "dim" if mark else "bold red")
        table.add_row(tables.age(one["at"], now), one["provider"], head)
        table.add_row("", "", tables.text(one["detail"]))
        if mark:
            note = f": {mark['note']}" if mark["note"] else ""
            resolved = f"resolved by {mark['by']}, {mark['at']}{note}"
            table.add_row("", "", tables.text(resolved, "green"))
        table.add_row("", "", tables.text(one["event_id"], "dim"))
    return table
