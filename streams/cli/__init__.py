"""The command line. Commands import what they need when they run: help must be quick."""

import sys

import typer

from streams.cli import cluster, doctor, feeding, letters, linking, processes, rebuilding, records

app = typer.Typer(
    help="One trustworthy status per payment link, from the callbacks of many providers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (processes, feeding, linking, records, letters, cluster, rebuilding, doctor):
    part.add_to(app)


def main() -> None:
    """The console script. Ends with 0 only on success, 2 on a wrong setting or option, else 1."""
    try:
        app()
    except Exception as error:
        code = _expected(error)
        if code is None:
            raise
        print(f"linkstatus: {_in_words(error)}", file=sys.stderr)
        sys.exit(code)


def _in_words(error: Exception) -> str:
    """The message; with the cause and the setting where a client only says that nobody answers."""
    from confluent_kafka import KafkaError, KafkaException

    unanswered = KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN
    if not isinstance(error, KafkaException) or error.args[0].code() not in unanswered:
        return str(error)
    from connectors.reaching import explain
    from streams import running

    said: str = error.args[0].str()
    why = explain(running.settings().cluster(), seconds=2.0)
    return f"{said}: {why}" if why else said


def _expected(error: Exception) -> int | None:
    """The exit code for what may go wrong outside of us: no traceback needed. None for the rest."""
    from confluent_kafka import KafkaException
    from httpx import HTTPError

    from connectors.board.access import TokenNeeded
    from connectors.board.store import StoreUnavailable
    from connectors.letters.reading import NoSuchLetter
    from connectors.letters.replay import NotReplayed
    from connectors.reaching import Refused as RefusedByCluster
    from schemas.codec import SchemaAway
    from streams.cli.terminal import Failed
    from streams.embedded import BrokerFailed
    from streams.rebuild import NotWritten
    from streams.registrations import BadFile, NotRegistered
    from streams.running import AlreadyRunning
    from streams.schema_ids import CannotNote
    from streams.schema_registry import Refused
    from streams.settings import BadSettings

    if isinstance(error, BadSettings | RefusedByCluster | TokenNeeded):
        return 2
    outside = (
        AlreadyRunning,
        BadFile,
        BrokerFailed,
        CannotNote,
        Failed,
        HTTPError,
        KafkaException,
        NoSuchLetter,
        NotRegistered,
        NotReplayed,
        NotWritten,
        OSError,
        Refused,
        SchemaAway,
        StoreUnavailable,
    )
    return 1 if isinstance(error, outside) else None
