"""`linkstatus tail`: print the records of a topic."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli import completion
from streams.cli.arguments import Json
from streams.cli.terminal import as_json, output, readable, readable_body, readable_headers
from streams.local import data_folder

if TYPE_CHECKING:
    from schemas.codec import Codecs


def tail(
    topic: Annotated[
        str,
        typer.Argument(
            help="The topic's name, without the prefix.", autocompletion=completion.topics
        ),
    ],
    json: Json = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Also the records that are there already.")
    ] = False,
    exit_at_end: Annotated[
        bool, typer.Option("--exit-at-end", help="Do not wait for more records.")
    ] = False,
) -> None:
    """Print the records of a topic, decoded, as they arrive.

    Records of aborted transactions are left out. A value that is not an Avro record of ours is
    shown as text, or as base64 if it is not UTF-8. Secrets and card numbers are masked.

        linkstatus tail order-close
        linkstatus tail link-status --json --from-beginning --exit-at-end
    """
    from connectors.kafka.topic_reader import records
    from schemas.headers import headers_of
    from streams import wiring

    settings = data_folder.settings()
    codecs = wiring.reading_codecs(settings)
    for message in records(settings.cluster(), topic, from_beginning, exit_at_end):
        headers = readable_headers(headers_of(message))
        record = {
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
            "key": readable(message.key()),
            "headers": headers,
            "value": _decoded(codecs, message.value(), headers),
        }
        output(json, record, _line(record))


def _decoded(codecs: "Codecs", value: bytes | None, headers: dict[str, str | None]) -> Any:
    """The Avro record if it is one of ours, else text, else base64."""
    from connectors.masking import masked_record
    from schemas.codec import BadRecord

    if value is None:
        return None
    try:
        return masked_record(codecs.decode_any(value)[1])
    except BadRecord:
        return readable_body(value, headers)


def _line(record: dict[str, Any]) -> str:
    value = record["value"] if isinstance(record["value"], str) else as_json(record["value"])
    return f"{record['partition']}/{record['offset']}  {record['key']}  {value}"
