"""What may go wrong outside of us: what is said of it, what to do about it, and the exit code."""

import sys
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import httpx

    from streams.settings import Settings


class Exit(IntEnum):
    """How a command ends. 0 is success; scripts may rely on the others."""

    NO = 1
    """It could not be done, or something is not as it should be; the message says what."""
    MISUSED = 2
    """An option, an argument or a setting is wrong: nothing was tried."""
    AWAY = 3
    """Kafka, the board, the registry or the database does not answer: try again later."""


class Failed(Exception):
    """The command could not do what was asked; the message says why, the hint what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Ending(NamedTuple):
    code: Exit
    message: str
    hint: str | None = None


def say(ending: Ending) -> None:
    """On stderr, in red on a terminal."""
    from rich.console import Console
    from rich.text import Text

    from streams.cli.terminal import harmless

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    lines = map(harmless, ending.message.splitlines() or [""])
    console.print(Text("linkstatus: ", "bold red"), "\n".join(lines), sep="", markup=False)
    if ending.hint:
        console.print(Text(f"  {harmless(ending.hint)}"), style="dim")


def ending_of(error: Exception) -> Ending | None:
    """How to end for what may go wrong outside of us: no traceback needed. None for the rest."""
    from connectors.board.access import TokenNeeded
    from connectors.board.store import StoreUnavailable
    from connectors.letters.reading import NoSuchLetter
    from connectors.letters.replay import NotReplayed
    from connectors.producing import NotTaken
    from connectors.reaching import Refused
    from streams.embedded import BrokerFailed
    from streams.rebuild import NotWritten
    from streams.registrations import BadFile, NotRegistered
    from streams.running import AlreadyRunning
    from streams.schema_ids import CannotNote
    from streams.settings import BadSettings
    from streams.tail import NoSuchTopic

    if isinstance(error, Failed):
        return Ending(Exit.NO, str(error), error.hint)
    if isinstance(error, BadSettings | Refused | TokenNeeded):
        return Ending(Exit.MISUSED, str(error))
    if isinstance(error, StoreUnavailable):
        return _of_database(error)
    if isinstance(error, NotTaken):
        return Ending(Exit.AWAY, f"Kafka does not take it now: {error}")
    undone = (
        *(AlreadyRunning, BadFile, BrokerFailed, CannotNote),
        *(NoSuchLetter, NoSuchTopic, NotRegistered, NotReplayed, NotWritten),
    )
    if isinstance(error, undone):
        return Ending(Exit.NO, str(error))
    return _of_registry(error) or _of_kafka(error) or _of_http(error) or _of_system(error)


def _of_database(error: Exception) -> Ending:
    if _settings().database_url is None:  # a file of our own: nobody is away
        return Ending(Exit.NO, str(error), "LINKSTATUS_DATA_DIR says where it is")
    return Ending(Exit.AWAY, str(error), "LINKSTATUS_DATABASE_URL says where the database is")


def _of_registry(error: Exception) -> Ending | None:
    from schemas.codec import SchemaAway
    from streams.schema_registry import Away, Refused

    if isinstance(error, SchemaAway):
        return Ending(Exit.AWAY, str(error))
    if not isinstance(error, Refused):
        return None
    away = isinstance(error, Away)
    where = "LINKSTATUS_SCHEMA_REGISTRY_URL says where the registry is"
    return Ending(Exit.AWAY if away else Exit.NO, str(error), where if away else None)


def _of_kafka(error: Exception) -> Ending | None:
    from confluent_kafka import KafkaError, KafkaException

    if not isinstance(error, KafkaException):
        return None
    cause = error.args[0]
    if not isinstance(cause, KafkaError):
        return Ending(Exit.NO, str(error))
    away = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT}
    if cause.code() not in away:
        return Ending(Exit.NO, f"Kafka: {cause.str()}")
    from connectors.reaching import explain

    settings = _settings()
    if settings.brokers is None:  # the embedded one
        return Ending(Exit.AWAY, f"Kafka: {cause.str()}", "its log is in the data folder")
    why = explain(settings.cluster(), seconds=2.0)
    return Ending(Exit.AWAY, f"no Kafka broker answers at {settings.brokers}", why)


def _of_http(error: Exception) -> Ending | None:
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return _of_status(error.response)
    if isinstance(error, httpx.TransportError):
        url = _root(error.request.url)
        return Ending(Exit.AWAY, f"nothing answers at {url} ({error})", _where(url))
    if isinstance(error, httpx.HTTPError | httpx.InvalidURL):
        return Ending(Exit.NO, str(error))
    return None


def _of_status(response: "httpx.Response") -> Ending:
    from connectors.sandbox.play import is_spoken

    said = f"{response.request.url.copy_with(query=None)} answered {response.status_code}"
    if response.status_code == 401:
        return Ending(Exit.MISUSED, said, "set LINKSTATUS_BOARD__TOKEN to the board's token")
    if response.status_code == 422:
        return Ending(Exit.MISUSED, _complaint(response))
    if response.status_code in (404, 405) and not is_spoken(response):
        # Somebody else's answer, such as the edge's where the board was meant.
        return Ending(Exit.NO, f"{said}: something else is there", _where(_root(response.url)))
    said += f": {response.text.strip()[:300]}" if response.text.strip() else ""
    return Ending(Exit.AWAY if response.status_code >= 500 else Exit.NO, said)


def _complaint(response: "httpx.Response") -> str:
    """What the board says is wrong with a question."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:300]


def _root(url: "httpx.URL | str") -> str:
    import httpx

    return str(httpx.URL(url).copy_with(path="/", query=None))


def _where(url: str) -> str:
    """The setting that says where this is."""
    settings = _settings()
    if settings.schema_registry_url and _root(settings.schema_registry_url) == url:
        return "LINKSTATUS_SCHEMA_REGISTRY_URL says where the registry is"
    if url.rstrip("/").endswith(f":{settings.sandbox.port}"):
        return "`linkstatus sandbox` runs it; LINKSTATUS_SANDBOX__HOST and …__PORT say where"
    if settings.board_url() == settings.edge_url:
        return (
            "`linkstatus up` runs it; LINKSTATUS_EDGE_URL says where edge and board are, and "
            "LINKSTATUS_BOARD__URL where the board is, if apart"
        )
    if _root(settings.board_url()) == url:
        return "`linkstatus board` runs it; LINKSTATUS_BOARD__URL says where it is"
    return "`linkstatus receive` runs it; LINKSTATUS_EDGE_URL says where it is"


def _of_system(error: Exception) -> Ending | None:
    if not isinstance(error, OSError):
        return None
    said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return Ending(Exit.NO, said)


def _settings() -> "Settings":
    from streams import running

    return running.settings()


def end(error: Exception) -> None:
    """Ends the process with what there is to say; returns for what is a defect of ours."""
    if (ending := ending_of(error)) is not None:
        say(ending)
        sys.exit(ending.code)
