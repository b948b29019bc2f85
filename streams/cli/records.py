"""The commands that read topics: `tail`, and `dead-letters`."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from connectors.kafka import Cluster

_Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look")(tail)
    app.add_typer(dead_letters, name="dead-letters", rich_help_panel="Look")


def tail(
    topic: Annotated[str, typer.Argument(help="The topic's name, without the prefix.")],
    json: _Json = False,
    from_beginning: Annotated[bool, typer.Option(help="Not only what comes from now on.")] = False,
    exit_at_end: Annotated[bool, typer.Option(help="End instead of waiting for more.")] = False,
) -> None:
    """Prints a topic's records, decoded. Records of aborted transactions are not among them."""
    from streams import tail as reading
    from streams.cli.terminal import as_json

    cluster = _cluster()
    for record in reading.records(cluster, topic, from_beginning, exit_at_end):
        line = reading.described(record)
        print(as_json(line) if json else reading.one_line(line), flush=True)


def _cluster() -> "Cluster":
    """To read from, whatever ids its records carry."""
    from streams import running, schema_ids

    settings = running.settings()
    schema_ids.read(settings.cluster(), settings.schema_registry_url)
    return settings.cluster()


dead_letters = typer.Typer(help="What no rule understood, with its reason.", no_args_is_help=True)
_Where = Annotated[str, typer.Argument(help="PARTITION/OFFSET, as `list` shows it.")]


@dead_letters.command("list")
def list_(json: _Json = False) -> None:
    """Every dead letter, oldest first in each partition."""
    from streams import running
    from streams import tail as reading
    from streams.cli.terminal import as_json, harmless

    for record in reading.dead_letters(running.settings().cluster()):
        line = reading.described(record)
        why = "  ".join(str(line["headers"].get(name)) for name in ("stage", "origin", "reason"))
        where = f"{line['partition']}/{line['offset']}"
        print(as_json(line) if json else harmless(f"{where}  {why}"))


@dead_letters.command()
def show(where: _Where) -> None:
    """One dead letter: its headers, and its bytes as they are."""
    import sys

    from streams import running
    from streams import tail as reading
    from streams.cli.terminal import harmless

    record = reading.dead_letter(running.settings().cluster(), where)
    for name, value in reading.described(record)["headers"].items():
        print(harmless(f"{name}: {value}"))
    print(flush=True)
    sys.stdout.buffer.write(record.value() or b"")
    sys.stdout.buffer.flush()


@dead_letters.command()
def replay(
    where: Annotated[list[str] | None, typer.Argument(help="PARTITION/OFFSET …")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every dead letter.")] = False,
) -> None:
    """Publishes dead letters once more to the topics they came from, as received."""
    from streams import running
    from streams import tail as reading
    from streams.cli.terminal import Failed, say

    if bool(where) == all_:
        raise Failed("name the dead letters to replay, or --all")
    cluster = running.settings().cluster()
    letters = (
        list(reading.dead_letters(cluster))
        if all_
        else [reading.dead_letter(cluster, one) for one in where or []]
    )
    for topic, count in reading.replay(cluster, letters).items():
        say(f"{topic}: {count} published again")
