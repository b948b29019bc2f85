"""How commands end: exit codes, hints, and no traceback for an expected error."""

import os
import subprocess
import sys

import httpx
import pytest
from aiokafka.errors import KafkaConnectionError
from confluent_kafka import KafkaError, KafkaException

from connectors.board.database.engine import BadUrl
from connectors.board.database.store import StoreUnavailable
from connectors.http.access import TokenNeeded
from connectors.http.server import Address
from schemas import limits
from streams.cli import errors
from streams.cli.errors import Exit, Failed
from streams.environment import BadSettings
from streams.local.edge import KeepsEnding
from streams.local.supervisor import Child
from tests.support.shell import ROOT, Shell, run_process

NOWHERE = "http://127.0.0.1:9"
SLOW = httpx.Request("GET", NOWHERE, extensions={"timeout": {"read": 10.0}})


def answered(status: int, **content: object) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", f"{NOWHERE}/links?limit=1")
    response = httpx.Response(status, request=request, **content)  # type: ignore[arg-type]
    return httpx.HTTPStatusError("", request=request, response=response)


def unanswered(url: str) -> httpx.ConnectError:
    return httpx.ConnectError("refused", request=httpx.Request("GET", f"{url}/x?y=z"))


def kafka(code: int) -> KafkaException:
    return KafkaException(KafkaError(code))


def ended_child(failures: int, code: int) -> Child:
    return Child("receive 1", [], {}, Address("", 0), failures=failures, code=code)


# The error, the exit code, and parts of the message and of the hint.
ENDINGS: list[tuple[Exception, Exit, str, str]] = [
    (Failed("no", "hint"), Exit.FAILED, "no", "hint"),
    (BadSettings("LINKSTATUS_X: wrong"), Exit.USAGE, "LINKSTATUS_X: wrong", ""),
    (TokenNeeded("a token"), Exit.USAGE, "a token", ""),
    (BadUrl("no"), Exit.USAGE, "LINKSTATUS_DATABASE_URL: no", ""),
    (KeepsEnding(ended_child(1, 2)), Exit.USAGE, "receive 1 ended with 2; its lines", ""),
    (KeepsEnding(ended_child(5, -9)), Exit.FAILED, "ended 5 times in a row, at last with -9", ""),
    (StoreUnavailable("no database"), Exit.FAILED, "no database", "LINKSTATUS_DATA_DIR"),
    (kafka(KafkaError._TRANSPORT), Exit.UNAVAILABLE, "no Kafka broker answers", ""),
    (kafka(KafkaError.TOPIC_AUTHORIZATION_FAILED), Exit.FAILED, "Kafka: ", ""),
    (KafkaException("bad configuration"), Exit.FAILED, "bad configuration", ""),
    (unanswered(NOWHERE), Exit.UNAVAILABLE, f"no answer from {NOWHERE}/ (refused)", "_EDGE_URL"),
    (unanswered("http://127.0.0.1:8081"), Exit.UNAVAILABLE, "", "LINKSTATUS_SCHEMA_REGISTRY_URL"),
    (unanswered("http://127.0.0.1:8082"), Exit.UNAVAILABLE, "", "LINKSTATUS_BOARD__URL"),
    (unanswered("http://127.0.0.1:8090"), Exit.UNAVAILABLE, "", "LINKSTATUS_SANDBOX__HOST"),
    (answered(401), Exit.USAGE, "answered 401", "LINKSTATUS_BOARD__TOKEN"),
    (answered(403, text="not you"), Exit.FAILED, "answered 403: not you", ""),
    (answered(404, text="no"), Exit.FAILED, "another program runs there", ""),
    (answered(422, json={"error": "limit: no"}), Exit.USAGE, "limit: no", ""),
    (answered(422, text="no"), Exit.USAGE, "no", ""),
    (answered(503), Exit.UNAVAILABLE, "answered 503", ""),
    (answered(409, json={"error": "it ended"}), Exit.FAILED, "answered 409: it ended", ""),
    (httpx.ReadTimeout("", request=SLOW), Exit.UNAVAILABLE, "(no answer within 10 s)", ""),
    (KafkaConnectionError("[('x', 1, <A>)]"), Exit.UNAVAILABLE, "Kafka: no connection", ""),
    (FileNotFoundError(2, "No such file", "a.csv"), Exit.FAILED, "a.csv: No such file", ""),
]


@pytest.mark.parametrize(("error", "code", "message", "hint"), ENDINGS)
def test_expected_error_has_exit_code_message_and_hint(
    shell: Shell, error: Exception, code: Exit, message: str, hint: str
) -> None:
    shell.set(
        BROKERS="127.0.0.1:9",
        SCHEMA_REGISTRY_URL="http://127.0.0.1:8081/sub",
        BOARD__URL="http://127.0.0.1:8082/",
    )
    failed = errors.expected(error)
    assert failed is not None
    assert failed.code == code
    assert message in str(failed)
    assert hint in (failed.hint or "")
    assert "?" not in str(failed)  # a query can hold a secret


def test_database_server_is_unavailable(shell: Shell) -> None:
    shell.set(DATABASE_URL="postgresql+psycopg://user@127.0.0.1:9/links")
    failed = errors.expected(StoreUnavailable("no database"))
    assert failed is not None
    assert (failed.code, "LINKSTATUS_DATABASE_URL" in str(failed.hint)) == (Exit.UNAVAILABLE, True)


def test_defect_keeps_its_traceback(shell: Shell) -> None:
    assert errors.expected(KeyError("x")) is None


def test_missing_board_is_named_with_a_hint(shell: Shell) -> None:
    shell.set(EDGE_URL=NOWHERE)
    ran = shell.run("status", "ping", "x")
    assert (ran.code, ran.out) == (3, "")
    message, hint = ran.err.splitlines()
    assert message.startswith(f"linkstatus: no answer from {NOWHERE}/")
    assert hint == (
        "  start it with `linkstatus up`, or set LINKSTATUS_EDGE_URL to the edge with its board "
        "(LINKSTATUS_BOARD__URL to a separate board)"
    )


def test_missing_broker_is_named_once() -> None:
    """librdkafka would log each failed attempt, twenty a second."""
    code = (
        "import sys; from connectors.kafka import topic_reader; from streams import cli;"
        "topic_reader.TIMEOUT = 1.0;"
        "sys.argv = ['linkstatus', 'tail', 'links']; cli.main()"
    )
    environment = {**os.environ, "LINKSTATUS_BROKERS": "127.0.0.1:9"}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (3, "")
    message, hint = ran.stderr.splitlines()
    assert message == "linkstatus: no Kafka broker answers at 127.0.0.1:9"
    assert "LINKSTATUS_BROKERS" in hint


@pytest.mark.parametrize(
    "args",
    [
        *("no-such-command", "status ping", "status pong x", "send pong --example x"),
        *("links list --limit 0", "links list --status payed", "anomalies list --kind ODD"),
        f"links list --limit {limits.PRINTED_ROWS + 1}",
        f"send ping --example created --repeat {limits.SENT_REPEATS + 1}",
        *("sandbox --callbacks-to ftp://x", "sandbox --callbacks-to 127.0.0.1:3"),
    ],
)
def test_wrong_use_ends_with_2_and_points_to_the_help(shell: Shell, args: str) -> None:
    ran = shell.run(*args.split())
    assert ran.code == 2
    assert "Try 'linkstatus" in ran.err


@pytest.mark.parametrize("setting", ["HTTP__PORT=eighty", "BOARD__URL=b:1", "BROKERS="])
def test_f1_wrong_setting_ends_with_2_and_names_itself(shell: Shell, setting: str) -> None:
    name, _, value = setting.partition("=")
    shell.set(**{name: value})
    ran = shell.run("topics", "check")
    assert (ran.code, f"LINKSTATUS_{name}" in ran.err) == (2, True)


def test_narrow_terminal_shows_other_characters_by_number() -> None:
    """As an exotic locale has it: no UnicodeEncodeError."""
    ran = run_process("send", "ping", "--example", "\u20ac", PYTHONIOENCODING="ascii")
    assert "no example '\\u20ac'" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.returncode == 2
