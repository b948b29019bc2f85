"""The command that reads any topic: `tail`."""

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import completing

if TYPE_CHECKING:
    from connectors.kafka import Cluster

_Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look")(tail)


def tail(
    topic: Annotated[
        str,
        typer.Argument(
            help="The topic's name, without the prefix.", autocompletion=completing.topics
        ),
    ],
    json: _Json = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Not only what comes from now on.")
    ] = False,
    exit_at_end: Annotated[
        bool, typer.Option("--exit-at-end", help="End instead of waiting for more.")
    ] = False,
) -> None:
    """Prints a topic's records, decoded, as they come.

    Those of aborted transactions are not among them. What is no Avro record of ours is shown as
    text, or as base64 where it is none.

        linkstatus tail order-close
        linkstatus tail link-status --json --from-beginning --exit-at-end
    """
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
