"""`linkstatus anomalies`: what a person should see to, and that somebody has."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli import completing

if TYPE_CHECKING:
    from rich.table import Table

anomalies = typer.Typer(help="What a person should see to.", no_args_is_help=True)

Kind = Annotated[
    str | None,
    typer.Option(help="Only these: UNDERPAID, STALE, …", autocompletion=completing.kinds),
]
Provider = Annotated[
    str | None, typer.Option(help="Only of this one.", autocompletion=completing.providers)
]
By = Annotated[str, typer.Option(help="Who says so; default: you on this machine.")]
Note = Annotated[str, typer.Option(help="What was done about it, in a few words.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(anomalies, name="anomalies", rich_help_panel="Look")


@anomalies.command("list")
def list_(
    provider: Provider = None,
    kind: Kind = None,
    all_: Annotated[bool, typer.Option("--all", help="Those that are done, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    json: Json = False,
) -> None:
    """The anomalies nobody has marked as done, the newest first.

    Below each what was seen, and its id.

        linkstatus anomalies list --kind UNDERPAID
    """
    from streams import running
    from streams.cli import drawing
    from streams.cli.asking import Board
    from streams.cli.terminal import as_json, say

    asked = {**_named(provider, kind), "show": "all" if all_ else "open"}
    with Board(running.settings()) as board:
        found = list(board.rows("anomalies", asked, limit))
    if json:
        for one in found:
            print(as_json(one))
    elif found:
        drawing.console().print(_table(found))
    else:
        say("none")


@anomalies.command()
def done(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Their ids, as `list` shows them.")
    ] = None,
    provider: Provider = None,
    kind: Kind = None,
    all_: Annotated[bool, typer.Option("--all", help="Every open anomaly.")] = False,
    by: By = "",
    note: Note = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One object: how many.")] = False,
) -> None:
    """Marks anomalies as done: they leave the list of what needs somebody.

    Who, when and the note are kept on the topic `notices`, and shown on the pages of their links.
    Says how many there are, and asks first, unless each is named.

        linkstatus anomalies done --kind STALE --note "asked ping" --dry-run
    """
    from datetime import UTC, datetime

    from connectors.board.words import many
    from streams import running
    from streams.cli.asking import Board
    from streams.cli.errors import Failed
    from streams.cli.terminal import say, somebody

    named = _named(provider, kind)
    if bool(ids) + (all_ or bool(named)) != 1:
        raise typer.BadParameter(
            "name the anomalies, or choose some with --kind, --provider, or all with --all"
        )
    # What is counted is what will be marked: what comes after this is left out.
    now = datetime.now(UTC).isoformat()
    meant = [{"event_id": one} for one in ids or []] or [{**named, "until": now}]
    told = {"by": by or somebody(), "note": note}
    with Board(running.settings()) as board:
        count = sum(board.get("/anomalies/done", **one)["count"] for one in meant)
        say(many(count, "open anomaly", "open anomalies"))
        if dry_run or not (ids or count):
            _count(json, {"open": count, "marked": 0})
            return
        if not (ids or yes):
            typer.confirm(f"mark {count} as done?", abort=True, err=True)
        marked = sum(board.post("/anomalies/done", {**one, **told})["marked"] for one in meant)
    _count(json, {"open": count, "marked": marked})
    say(f"{marked} marked as done")
    if ids and marked < len(ids):
        raise Failed(f"{len(ids) - marked} of these ids are of no open anomaly")


@anomalies.command("open")
def reopen(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The id of one that is done.")],
    by: By = "",
    note: Note = "",
) -> None:
    """Marks an anomaly that was done as one to be seen to again."""
    from streams import running
    from streams.cli.asking import Board
    from streams.cli.errors import Failed
    from streams.cli.terminal import say, somebody

    told = {"event_id": id_, "by": by or somebody(), "note": note}
    with Board(running.settings()) as board:
        if not board.post("/anomalies/open", told)["marked"]:
            raise Failed(f"{id_} is the id of no anomaly that is done")
    say("open again")


def _named(provider: str | None, kind: str | None) -> dict[str, str]:
    named = {"provider": provider, "kind": kind and kind.upper()}
    return {name: value for name, value in named.items() if value}


def _count(json: bool, counts: dict[str, int]) -> None:
    from streams.cli.terminal import as_json

    if json:
        print(as_json(counts))


def _table(found: list[dict[str, Any]]) -> "Table":
    from datetime import UTC, datetime

    from streams.cli.drawing import grid, moment, roughly, text

    table = grid("age", "provider", "anomaly")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    now = datetime.now(UTC)
    for one in found:
        at, said = moment(one["at"]), one["done"]
        head = f"{one['kind']}  {one['link_id']}"
        age = roughly(now - at) if at else ""
        table.add_row(age, one["provider"], text(head, "dim" if said else "bold red"))
        table.add_row("", "", text(one["detail"]))
        if said:
            note = f": {said['note']}" if said["note"] else ""
            table.add_row("", "", text(f"done by {said['by']}, {said['at']}{note}", "green"))
        table.add_row("", "", text(one["event_id"], "dim"))
    return table
