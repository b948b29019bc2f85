"""Expected errors: the message, what to do about it, and the exit code."""

import sys
from enum import IntEnum
from typing import TYPE_CHECKING

from connectors.reasons import reason_of
from streams.cli.terminal import harmless
from streams.local import data_folder

if TYPE_CHECKING:
    import httpx

_PACKAGES = ("connectors.", "schemas.", "streams.")
_START_REGISTRY = "start the registry, or set LINKSTATUS_SCHEMA_REGISTRY_URL"


class Exit(IntEnum):
    """The exit code of a command that fails. 0 is success; scripts may rely on the others."""

    FAILED = 1
    """The command failed, or a check found something wrong; the message says what."""
    USAGE = 2
    """An option, an argument or a setting is wrong; the command did nothing."""
    UNAVAILABLE = 3
    """Kafka, the board, the registry, the database or a provider does not answer now."""


class Failed(Exception):
    """The command failed; the message says why, the hint what to do."""

    def __init__(self, message: str, hint: str | None = None, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.hint, self.code = hint, code


def end(error: Exception) -> None:
    """Print an expected error and exit; return if the error is a defect."""
    if (failed := expected(error)) is not None:
        _print(failed)
        sys.exit(failed.code)


def _print(failed: Failed) -> None:
    """Print to stderr, in red on a terminal."""
    try:
        from rich.console import Console
        from rich.text import Text
    except ModuleNotFoundError:  # the extra `server` is not installed
        print(f"linkstatus: {failed}", failed.hint, sep="\n  ", file=sys.stderr)
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    lines = map(harmless, str(failed).splitlines() or [""])
    console.print(Text("linkstatus: ", "bold red"), "\n".join(lines), sep="", markup=False)
    if failed.hint:
        console.print(Text(f"  {harmless(failed.hint)}"), style="dim")


def expected(error: Exception) -> Failed | None:
    """How the command ends with this error; None for a defect, which keeps its traceback."""
    if isinstance(error, Failed):
        return error
    if isinstance(error, ModuleNotFoundError):
        return _of_missing_package(error.name or "")
    return _of_project(error) or _of_kafka(error) or _of_http(error) or _of_system(error)


def _of_missing_package(module: str) -> Failed | None:
    """A consumer's installation has only what `streams.consume` needs."""
    if f"{module}.".startswith(_PACKAGES):
        return None
    message = f"this command needs a package that is not installed: {module}"
    return Failed(message, "install linkstatus[server]", Exit.USAGE)


def _unavailable(message: str, hint: str | None = None) -> Failed:
    return Failed(message, hint, Exit.UNAVAILABLE)


def _of_project(error: Exception) -> Failed | None:
    # The imports below take a second, which an error of a library need not wait for.
    if not any(kind.__module__.startswith(_PACKAGES) for kind in type(error).__mro__):
        return None

    from connectors.board.database.engine import BadUrl
    from connectors.board.database.store import StoreUnavailable
    from connectors.http.access import TokenNeeded
    from connectors.http.caller import ProviderAway
    from connectors.imports.file import BadFile as BadImport
    from connectors.kafka import diagnose
    from connectors.kafka.sync_producer import NotAcknowledged
    from connectors.kafka.topic_reader import NoSuchTopic
    from connectors.providers.lists import ListRefused
    from connectors.receive.csv_file import BadFile
    from connectors.schema_registry import client as registry
    from connectors.schema_registry.noted_ids import CannotNote
    from connectors.triage.reader import NoSuchDeadLetter
    from connectors.triage.replay import ReplayFailed
    from schemas.codec import SchemaAway
    from streams.environment import BadSettings
    from streams.local.broker import BrokerFailed
    from streams.local.edge import KeepsEnding
    from streams.rebuild.rebuild import NotWritten
    from streams.reconcile import BadPayouts

    message = str(error)
    match error:
        case BadSettings() | BadUrl() | diagnose.Refused() | TokenNeeded():
            return Failed(message, code=Exit.USAGE)
        case BadPayouts() | BadImport():
            return Failed(message, code=Exit.USAGE)
        case KeepsEnding():
            return Failed(message, code=Exit.USAGE if error.code == Exit.USAGE else Exit.FAILED)
        case ProviderAway() | ListRefused():
            return _unavailable(message)
        case NotAcknowledged():
            return _unavailable(f"Kafka does not take the records now: {message}")
        case SchemaAway():
            return _unavailable(message)
        case registry.Away():
            return _unavailable(message, _START_REGISTRY)
        case StoreUnavailable() if data_folder.settings().database_url is None:  # our own file
            return Failed(message, "LINKSTATUS_DATA_DIR is the folder it is in")
        case StoreUnavailable():
            return _unavailable(message, "start the database, or set LINKSTATUS_DATABASE_URL")
        case data_folder.AlreadyRunning() | data_folder.NotUsable() | BrokerFailed() | BadFile():
            return Failed(message)
        case CannotNote() | registry.Refused() | NoSuchDeadLetter() | NoSuchTopic():
            return Failed(message)
        case NotWritten() | ReplayFailed():
            return Failed(message)
    return None


def _of_kafka(error: Exception) -> Failed | None:
    from confluent_kafka import KafkaError, KafkaException

    from connectors.kafka.diagnose import explain

    if type(error).__module__.startswith("aiokafka"):
        return _unavailable(f"Kafka: {reason_of(error)}")
    if not isinstance(error, KafkaException):
        return None
    cause = error.args[0]
    if not isinstance(cause, KafkaError):
        return Failed(str(error))
    if cause.code() not in (
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
    ):
        return Failed(f"Kafka: {reason_of(cause)}")
    settings = data_folder.settings()
    if settings.brokers is None:  # the embedded broker
        log = settings.data_dir / "kafka" / "server.log"
        return _unavailable(f"Kafka: {reason_of(cause)}", f"the broker's log is {log}")
    message = f"no Kafka broker answers at {settings.brokers}"
    return _unavailable(message, explain(settings.cluster(), seconds=2.0))


def _of_http(error: Exception) -> Failed | None:
    import httpx

    match error:
        case httpx.HTTPStatusError():
            return _of_response(error.response)
        case httpx.TransportError():
            url = _root(error.request.url)
            return _unavailable(f"no answer from {url} ({reason_of(error)})", _hint(url))
        case httpx.HTTPError() | httpx.InvalidURL():
            return Failed(reason_of(error))
    return None


def _of_response(response: "httpx.Response") -> Failed:
    from connectors.board.client import is_from_board

    status = response.status_code
    message = f"{response.request.url.copy_with(query=None)} answered {status}"
    if status == 401:
        return Failed(message, "set LINKSTATUS_BOARD__TOKEN to the board's token", Exit.USAGE)
    if status == 422:
        return Failed(_board_message(response), code=Exit.USAGE)
    if status in (404, 405) and not is_from_board(response):
        # Another server, such as the edge, has the board's address.
        return Failed(f"{message}: another program runs there", _hint(_root(response.url)))
    message += f": {text}" if (text := _board_message(response)) else ""
    return _unavailable(message) if status >= 500 else Failed(message)


def _board_message(response: "httpx.Response") -> str:
    """The message in the board's answer to a request that failed."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text.strip()[:300]


def _root(url: "httpx.URL | str") -> str:
    import httpx

    return str(httpx.URL(url).copy_with(path="/", query=None))


def _hint(url: str) -> str:
    """How to start the server at this address, and the setting that names the address."""
    settings = data_folder.settings()
    if settings.schema_registry_url and _root(settings.schema_registry_url) == url:
        return _START_REGISTRY
    if url.rstrip("/").endswith(f":{settings.sandbox.port}"):
        return "start it with `linkstatus sandbox`, or set LINKSTATUS_SANDBOX__HOST and …__PORT"
    if settings.board_url() == settings.edge_url:
        return (
            "start it with `linkstatus up`, or set LINKSTATUS_EDGE_URL to the edge with its board "
            "(LINKSTATUS_BOARD__URL to a separate board)"
        )
    if _root(settings.board_url()) == url:
        return "start it with `linkstatus board`, or set LINKSTATUS_BOARD__URL"
    return "start it with `linkstatus receive`, or set LINKSTATUS_EDGE_URL"


def _of_system(error: Exception) -> Failed | None:
    if not isinstance(error, OSError):
        return None
    return Failed(reason_of(error))
