"""How commands end: exit codes, a hint, and never a traceback for what is outside of us."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.board.access import TokenNeeded
from connectors.board.store import StoreUnavailable
from streams.cli import errors
from streams.cli.errors import Exit, Failed
from streams.settings import BadSettings
from tests.streams.cli.shell import Shell

ROOT = Path(__file__).parents[3]
NOWHERE = "http://127.0.0.1:9"


def answered(status: int, **content: object) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", f"{NOWHERE}/links?limit=1")
    response = httpx.Response(status, request=request, **content)  # type: ignore[arg-type]
    return httpx.HTTPStatusError("", request=request, response=response)


def unanswered(url: str) -> httpx.ConnectError:
    return httpx.ConnectError("refused", request=httpx.Request("GET", f"{url}/x?y=z"))


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Failed("no", "this"), Exit.NO, "no"),
        (BadSettings("LINKSTATUS_X: wrong"), Exit.MISUSED, "LINKSTATUS_X: wrong"),
        (TokenNeeded("a token"), Exit.MISUSED, "a token"),
        (StoreUnavailable("no database"), Exit.NO, "no database"),
        (KafkaException(KafkaError(KafkaError._TRANSPORT)), Exit.AWAY, "no Kafka broker answers"),
        (KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)), Exit.NO, "Kafka: "),
        (KafkaException("bad configuration"), Exit.NO, "bad configuration"),
        (unanswered(NOWHERE), Exit.AWAY, f"nothing answers at {NOWHERE}/ (refused)"),
        (answered(401), Exit.MISUSED, "answered 401"),
        (answered(403, text="not you"), Exit.NO, "answered 403: not you"),
        (answered(422, json={"error": "limit: no"}), Exit.MISUSED, "limit: no"),
        (answered(422, text="no"), Exit.MISUSED, "no"),
        (answered(503), Exit.AWAY, "answered 503"),
        (FileNotFoundError(2, "No such file", "a.csv"), Exit.NO, "a.csv: No such file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_outside_of_us_ends_with_its_code(
    shell: Shell, error: Exception, code: Exit, said: str
) -> None:
    shell.set(BROKERS="127.0.0.1:9")
    ending = errors.ending_of(error)
    assert ending is not None
    assert ending.code == code
    assert said in ending.message
    assert "?" not in ending.message  # no query: it may hold what nobody should read


def test_a_database_of_our_own_is_not_away_and_a_server_is(shell: Shell) -> None:
    shell.set(DATABASE_URL="postgresql+psycopg://somebody@127.0.0.1:9/links")
    ending = errors.ending_of(StoreUnavailable("no database"))
    assert ending is not None
    assert (ending.code, "LINKSTATUS_DATABASE_URL" in str(ending.hint)) == (Exit.AWAY, True)


def test_a_defect_of_ours_keeps_its_traceback(shell: Shell) -> None:
    assert errors.ending_of(KeyError("x")) is None


@pytest.mark.parametrize(
    ("url", "setting"),
    [
        ("http://127.0.0.1:8081", "LINKSTATUS_SCHEMA_REGISTRY_URL"),
        ("http://127.0.0.1:8090", "LINKSTATUS_SANDBOX__HOST"),
        ("http://127.0.0.1:8080", "LINKSTATUS_EDGE_URL"),
        ("http://127.0.0.1:8082", "LINKSTATUS_BOARD__URL"),
    ],
)
def test_the_hint_names_the_setting_that_says_where(shell: Shell, url: str, setting: str) -> None:
    shell.set(SCHEMA_REGISTRY_URL="http://127.0.0.1:8081/sub", BOARD__URL="http://127.0.0.1:8082/")
    ending = errors.ending_of(unanswered(url))
    assert ending is not None
    assert setting in (ending.hint or "")


def test_a_board_that_is_away_is_said_with_a_hint(shell: Shell) -> None:
    shell.set(EDGE_URL=NOWHERE)
    ran = shell.run("status", "ping", "x")
    assert (ran.code, ran.out) == (3, "")
    message, hint = ran.err.splitlines()
    assert message.startswith(f"linkstatus: nothing answers at {NOWHERE}/")
    said = "`linkstatus up` runs it; LINKSTATUS_EDGE_URL says where edge and board are"
    assert hint == f"  {said}, and LINKSTATUS_BOARD__URL where the board is, if apart"


def program(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: what C libraries write to stderr is seen too."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


def test_a_broker_that_is_away_is_said_once() -> None:
    """librdkafka would log each of its vain tries, twenty a second."""
    code = (
        "import sys; from connectors import ungrouped; from streams import cli;"
        "ungrouped.TIMEOUT = 1.0;"
        "sys.argv = ['linkstatus', 'tail', 'links']; cli.main()"
    )
    ran = program(code, LINKSTATUS_BROKERS="127.0.0.1:9")
    assert (ran.returncode, ran.stdout) == (3, "")
    message, hint = ran.stderr.splitlines()
    assert message == "linkstatus: no Kafka broker answers at 127.0.0.1:9"
    assert "LINKSTATUS_BROKERS" in hint


@pytest.mark.parametrize(
    "args",
    [
        ("no-such-command",),
        ("status", "ping"),
        ("status", "pong", "x"),
        ("links", "list", "--limit", "0"),
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_2_and_says_where_help_is(shell: Shell, args: tuple[str, ...]) -> None:
    ran = shell.run(*args)
    assert ran.code == 2
    assert "Try 'linkstatus" in ran.err


def test_a_terminal_of_few_letters_shows_the_others_by_number() -> None:
    """As an exotic locale has it: no UnicodeEncodeError."""
    code = (
        "import sys; from streams import cli;"
        "sys.argv = ['linkstatus', 'send', 'ping', '--example', '\\u20ac']; cli.main()"
    )
    ran = program(code, PYTHONIOENCODING="ascii")
    assert "no example '\\u20ac'" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.returncode == 2


def test_every_exit_code_is_documented() -> None:
    table = (ROOT / "README.md").read_text().split("| exit code |")[1].split("\n\n")[0]
    codes = [int(row.split("|")[1]) for row in table.splitlines()[2:]]
    assert codes == [0, *Exit]
