"""The command that reads any topic: `tail`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli import completing

if TYPE_CHECKING:
    from confluent_kafka import Message

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
    from streams.cli.terminal import as_json
    from streams.tail import records

    for record in records(_cluster(), topic, from_beginning, exit_at_end):
        line = _described(record)
        print(as_json(line) if json else _one_line(line), flush=True)


def _cluster() -> "Cluster":
    """To read from, whatever ids its records carry."""
    from streams import running, schema_ids

    settings = running.settings()
    schema_ids.read(settings.cluster(), settings.schema_registry_url)
    return settings.cluster()


def _described(message: "Message") -> dict[str, Any]:
    """A record as an object of plain types: what `tail --json` prints."""
    from streams.cli.terminal import readable
    from streams.engine.batch import headers_of

    return {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "key": readable(message.key()),
        "headers": {name: readable(value) for name, value in headers_of(message)},
        "value": _decoded(message.value()),
    }


def _decoded(value: bytes | None) -> Any:
    """The Avro record if it is one of ours, else text, else base64."""
    from schemas import codec
    from streams.cli.terminal import readable

    if value is None:
        return None
    try:
        return codec.decode_any(value)[1]
    except codec.BadRecord:
        return readable(value)


def _one_line(line: dict[str, Any]) -> str:
    """A described record for people."""
    from streams.cli.terminal import as_json, harmless

    value = line["value"] if isinstance(line["value"], str) else as_json(line["value"])
    return harmless(f"{line['partition']}/{line['offset']}  {line['key']}  {value}")
