"""The command line: help everywhere, exit codes, and what the commands print."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from connectors.kafka import Cluster
from schemas import codec, compatibility
from streams import cli
from streams.cli import errors
from tests.reading import read_all

_REGISTERED = codec.LINK_REGISTERED.encode(
    {
        "provider": "ping",
        "link_id": "l-1",
        "order_id": None,
        "amount_minor": 1234,
        "currency": "SEK",
        "expires_at": None,
        "links_in_order": None,
        "registered_at": 1_700_000_000_000_000,
    }
)


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, sub in getattr(command, "commands", {}).items():
        yield from _commands(sub, (*path, name))


# Those that print nothing that a program would read as it is: processes, shell text, one word.
NOT_FOR_PROGRAMS = {"up", "receive", "work", "lookup", "settle", "board", "web"}
NOT_FOR_PROGRAMS |= {"sandbox env", "schemas release", "anomalies open"}
COMMANDS = dict(_commands(typer.main.get_command(cli.app)))


class Cli:
    """Runs commands in this process, with settings of the test's own."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env

    def run(self, *args: str) -> Result:
        return CliRunner().invoke(cli.app, args, env=self._env)

    def ok(self, *args: str) -> str:
        result = self.run(*args)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout


@pytest.fixture
def linkstatus(kafka: Cluster, tmp_path: Path) -> Cli:
    return Cli(
        {
            "LINKSTATUS_BROKERS": kafka.brokers,
            "LINKSTATUS_TOPIC_PREFIX": kafka.prefix,
            "LINKSTATUS_DATA_DIR": str(tmp_path),
            "LINKSTATUS_PARTITIONS": "2",
        }
    )


def _produce(
    cluster: Cluster,
    topic: str,
    value: bytes | None,
    key: bytes | None = b"ping:l-1",
    headers: dict[str, str | bytes | None] | None = None,
    commit: bool = True,
) -> None:
    producer = Producer({**cluster.librdkafka(), "transactional.id": f"{cluster.prefix}test"})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(cluster.topic(topic), value, key, partition=0, headers=headers or {})
    producer.flush(10)
    producer.commit_transaction() if commit else producer.abort_transaction()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    assert COMMANDS[path].help
    result = CliRunner().invoke(cli.app, [*path, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_has_help(path: tuple[str, ...]) -> None:
    options = [p for p in COMMANDS[path].params if p.param_type_name == "option"]
    assert [option.name for option in options if not (option.help or option.hidden)] == []


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_what_a_program_may_read_comes_with_json(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    if " ".join(path) in NOT_FOR_PROGRAMS or hasattr(command, "commands"):
        return
    assert "--json" in {option for one in command.params for option in one.opts}


def test_help_imports_nothing_heavy() -> None:
    program = "import sys, streams.cli; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    heavy = {"aiokafka", "confluent_kafka", "faust", "httpx", "jgo", "pydantic", "sqlalchemy"}
    assert heavy & set(loaded) == set()


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("LINKSTATUS_HTTP__PORT", "eighty", "LINKSTATUS_HTTP__PORT"),
        ("LINKSTATUS_PARTITIONS", "0", "LINKSTATUS_PARTITIONS"),
        ("LINKSTATUS_BOARD__PROCESSES", '{"work": "work:1"}', "LINKSTATUS_BOARD__PROCESSES"),
        ("UNRELATED", "", "LINKSTATUS_BROKERS"),
    ],
)
def test_a_wrong_setting_names_itself_and_ends_with_2(
    variable: str,
    value: str,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LINKSTATUS_BROKERS", raising=False)
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "argv", ["linkstatus", "topics", "check"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert named in capsys.readouterr().err


@pytest.mark.slow
def test_an_unreachable_cluster_ends_with_1_and_without_a_traceback(tmp_path: Path) -> None:
    env = {"LINKSTATUS_BROKERS": "127.0.0.1:1", "LINKSTATUS_DATA_DIR": str(tmp_path), "PATH": ""}
    result = subprocess.run(
        [sys.executable, "-m", "streams.cli", "doctor"],
        cwd=Path(__file__).parents[2],
        env=env,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "wrong  brokers" in result.stdout
    assert "LINKSTATUS_BROKERS" in result.stdout
    assert "Traceback" not in result.stderr


def test_schemas_check_prints_every_id() -> None:
    lines = Cli({}).ok("schemas", "check").splitlines()
    assert {int(line.split()[0]) for line in lines} == {one.id for one in codec.ALL}
    told = json.loads(Cli({}).ok("schemas", "check", "--json"))
    assert told["well"]
    assert {one["id"] for one in told["schemas"]} == {one.id for one in codec.ALL}


def test_schemas_check_fails_and_names_what_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compatibility, "breaks", lambda: ["link_event.avsc, LinkEvent.status: why"])
    result = Cli({}).run("schemas", "check")
    assert result.exit_code != 0
    assert "LinkEvent.status: why" in str(result.exception)


def test_schemas_release_wants_a_later_number() -> None:
    result = Cli({}).run("schemas", "release", "0.0.9")
    assert result.exit_code != 0
    assert "0.0.9 does not come after" in str(result.exception)


def test_send_names_the_examples_there_are(tmp_path: Path) -> None:
    result = Cli({"LINKSTATUS_DATA_DIR": str(tmp_path)}).run("send", "ping")
    assert (result.exit_code, "completed" in result.stderr) == (2, True)


def test_an_unknown_provider_is_a_wrong_argument(tmp_path: Path) -> None:
    result = Cli({"LINKSTATUS_DATA_DIR": str(tmp_path)}).run("send", "pong", "--example", "x")
    assert result.exit_code == 2


@pytest.mark.kafka
def test_tail_prints_decoded_records_one_a_line(linkstatus: Cli, kafka: Cluster) -> None:
    _produce(kafka, "links", _REGISTERED, headers={"event-id": b"e-1"})
    lines = linkstatus.ok("tail", "links", "--json", "--from-beginning", "--exit-at-end")
    (record,) = map(json.loads, lines.splitlines())
    assert record["topic"] == kafka.topic("links")
    assert (record["partition"], record["offset"], record["key"]) == (0, 0, "ping:l-1")
    assert record["headers"] == {"event-id": "e-1"}
    assert record["value"]["amount_minor"] == 1234


@pytest.mark.kafka
def test_tail_shows_raw_bytes_as_text_or_base64(linkstatus: Cli, kafka: Cluster) -> None:
    bodies = (b'{"a": 1}', b"\xff\xfe", "plain \u2713".encode())
    for body in bodies:
        _produce(kafka, "callbacks.ping", body, key=None)
    lines = linkstatus.ok("tail", "callbacks.ping", "--json", "--from-beginning", "--exit-at-end")
    text, binary, plain = (json.loads(line)["value"] for line in lines.splitlines())
    assert (text, plain) == ('{"a": 1}', "plain \u2713")
    assert base64.b64decode(binary.removeprefix("base64:")) == b"\xff\xfe"


@pytest.mark.kafka
def test_tail_hides_what_was_aborted_and_still_ends(linkstatus: Cli, kafka: Cluster) -> None:
    _produce(kafka, "link-events", b"kept")
    _produce(kafka, "link-events", b"aborted", commit=False)
    lines = linkstatus.ok("tail", "link-events", "--from-beginning", "--exit-at-end")
    assert "kept" in lines
    assert "aborted" not in lines


@pytest.mark.kafka
def test_tail_for_people_cannot_command_their_terminal(linkstatus: Cli, kafka: Cluster) -> None:
    _produce(kafka, "callbacks.ping", b"\x1b[2J\x9bgone")
    _produce(kafka, "callbacks.ping", "\x1b[2J\x9bgone".encode())
    shown = linkstatus.ok("tail", "callbacks.ping", "--from-beginning", "--exit-at-end")
    assert all(character.isprintable() or character == "\n" for character in shown)


@pytest.mark.kafka
def test_tail_of_a_topic_that_is_not_there_lists_those_that_are(linkstatus: Cli) -> None:
    result = linkstatus.run("tail", "link-state", "--exit-at-end")
    assert result.exit_code != 0
    assert "link-status" in str(result.exception)


@pytest.mark.kafka
def test_dead_letters_are_listed_shown_and_replayed(linkstatus: Cli, kafka: Cluster) -> None:
    headers: dict[str, str | bytes | None] = {
        "provider": b"ping",
        "source": b"callback",
        "received-at": b"1700000000000",
        "stage": b"normalize",
        "reason": b"no JSON",
        "origin": b"callbacks.ping/1/7",
    }
    _produce(kafka, "dead-letters", b"\x00broken", headers=headers)
    place, day, time, *told = linkstatus.ok("dead-letters", "list").split()
    assert (place, *told) == ("0/0", "normalize", "callbacks.ping/1/7", "no", "JSON")
    assert datetime.fromisoformat(f"{day}T{time}").tzinfo == UTC
    (listed,) = map(json.loads, linkstatus.ok("dead-letters", "list", "--json").splitlines())
    assert listed["headers"]["reason"] == "no JSON"
    shown = linkstatus.ok("dead-letters", "show", "0/0")
    assert "reason: no JSON\n" in shown
    assert shown.endswith("\x00broken")

    linkstatus.ok("dead-letters", "replay", "0/0", "--by", "ada")
    tail = ("tail", "callbacks.ping", "--json", "--from-beginning", "--exit-at-end")
    (again,) = map(json.loads, linkstatus.ok(*tail).splitlines())
    assert again["value"] == "\x00broken"
    assert again["key"] == "ping:l-1"
    assert again["headers"].pop("replay-id")
    assert again["headers"] == {
        "provider": "ping",
        "source": "replay",
        "received-at": "1700000000000",
        "replay-of": "dead-letters/0/0",
    }
    assert "replayed by ada" in linkstatus.ok("dead-letters", "list")
    (listed,) = map(json.loads, linkstatus.ok("dead-letters", "list", "--json").splitlines())
    assert listed["replayed_by"] == "ada"
    assert listed["replayed_at"] > 1_700_000_000_000_000


@pytest.mark.kafka
def test_a_replay_is_counted_before_it_is_done_and_not_done_twice(
    linkstatus: Cli, kafka: Cluster
) -> None:
    for provider, reason in (("ping", "no JSON"), ("ping", "No json at all"), ("peach", "odd")):
        origin = f"callbacks.{provider}/0/0".encode()
        headers: dict[str, str | bytes | None] = {"reason": reason.encode(), "origin": origin}
        _produce(kafka, "dead-letters", b"{", headers=headers)

    def published() -> int:
        return len(read_all(kafka, "callbacks.ping")) + len(read_all(kafka, "callbacks.peach"))

    chosen = ("dead-letters", "replay", "--reason", "no json", "--provider", "ping")
    dry = linkstatus.run(*chosen, "--dry-run")
    assert (dry.exit_code, published()) == (0, 0)
    assert "2 dead letters" in dry.stderr
    counted = json.loads(linkstatus.ok(*chosen, "--dry-run", "--json"))
    assert (counted["chosen"], counted["published"]) == (2, 0)
    assert [row["to"] for row in counted["reasons"]] == ["callbacks.ping"] * 2
    unasked = linkstatus.run(*chosen)
    assert (unasked.exit_code, published()) == (1, 0)
    assert "replay 2?" in unasked.stderr
    linkstatus.ok(*chosen, "--yes", "--rate", "1000")
    assert published() == 2
    assert "no dead letter to replay" in linkstatus.run(*chosen, "--yes").stderr
    assert "1 dead letter\n" in linkstatus.run("dead-letters", "replay", "--all", "--yes").stderr
    assert published() == 3
    done = json.loads(linkstatus.ok(*chosen, "--yes", "--again", "--json"))
    assert (done["chosen"], done["published"]) == (2, 2)
    assert published() == 5


@pytest.mark.kafka
def test_junk_is_counted_set_aside_left_out_of_replays_and_taken_back(
    linkstatus: Cli, kafka: Cluster
) -> None:
    for reason in ("no JSON", "no JSON", "unknown status"):
        headers: dict[str, str | bytes | None] = {"origin": b"callbacks.ping/0/0"}
        _produce(kafka, "dead-letters", b"{", headers={**headers, "reason": reason.encode()})

    def waiting() -> list[str]:
        out = linkstatus.ok("dead-letters", "list", "--open", "--json")
        return [f"{one['partition']}/{one['offset']}" for one in map(json.loads, out.splitlines())]

    junk, other, good = waiting()

    chosen = ("dead-letters", "aside", "--reason", "no json", "--note", "a scanner", "--by", "ada")
    dry = linkstatus.run(*chosen, "--dry-run", "--json")
    assert (dry.exit_code, "2 dead letters" in dry.stderr) == (0, True)
    counted = json.loads(dry.stdout)
    assert (counted["chosen"], counted["marked"]) == (2, 0)
    unasked = linkstatus.run(*chosen)
    assert (unasked.exit_code, "set 2 aside?" in unasked.stderr) == (1, True)
    assert waiting() == [junk, other, good]
    assert json.loads(linkstatus.ok(*chosen, "--yes", "--json"))["marked"] == 2
    assert waiting() == [good]
    assert "(set aside by ada: a scanner)" in linkstatus.ok("dead-letters", "list")
    first, *_ = map(json.loads, linkstatus.ok("dead-letters", "list", "--json").splitlines())
    assert (first["aside"]["by"], first["aside"]["note"]) == ("ada", "a scanner")
    assert "no dead letter is open" in linkstatus.run(*chosen, "--yes").stderr
    every = ("dead-letters", "replay", "--all", "--again", "--dry-run", "--json")
    assert json.loads(linkstatus.ok(*every))["chosen"] == 1
    failed = linkstatus.run("dead-letters", "aside", junk, good, good).exception
    assert "1 of these are not open" in str(failed)
    assert waiting() == []
    linkstatus.ok("dead-letters", "open", good)
    linkstatus.ok("dead-letters", "open", "--provider", "ping", "--yes")
    assert waiting() == [junk, other, good]
    assert "are not set aside" in str(linkstatus.run("dead-letters", "open", junk).exception)
    for wrong in ((), ("0/0", "--all"), ("--until", "soon")):
        assert linkstatus.run("dead-letters", "aside", *wrong).exit_code == 2
        assert linkstatus.run("dead-letters", "open", *wrong).exit_code == 2


@pytest.mark.kafka
@pytest.mark.parametrize("when", ["yesterday", "2030-01-01T00:00"])
def test_a_time_that_is_none_is_refused(linkstatus: Cli, when: str) -> None:
    result = linkstatus.run("dead-letters", "list", "--since", when)
    assert result.exit_code == 2
    assert when in result.stderr


@pytest.mark.kafka
@pytest.mark.parametrize(("where", "code"), [("0/99", 1), ("7/0", 1), ("x", 2), ("0", 2)])
def test_a_dead_letter_that_is_not_there_fails(linkstatus: Cli, where: str, code: int) -> None:
    result = linkstatus.run("dead-letters", "show", where)
    # As `python -m streams.cli` ends, see tests/streams/cli/test_errors.py.
    failed = result.exception
    ended = errors.ending_of(failed) if isinstance(failed, Exception) else None
    assert (ended.code if ended else result.exit_code) == code


@pytest.mark.kafka
def test_what_commands_the_terminal_is_shown_as_an_escape(
    linkstatus: Cli, kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can send a callback that no rule understands; a person looks at it here."""
    origin: dict[str, str | bytes | None] = {"origin": b"callbacks.ping/0/0"}
    _produce(kafka, "dead-letters", b"a\x1b]0;owned\x07\xc2\x9b2J\xff\nb", headers=origin)
    raw = linkstatus.ok("dead-letters", "show", "0/0")
    assert "\x1b]0;owned" in raw  # through a pipe the bytes are as they are
    monkeypatch.setattr("streams.cli.terminal.is_terminal", lambda: True)
    shown = linkstatus.ok("dead-letters", "show", "0/0")
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)
    assert "\\x1b]0;owned\\x07\\x9b2J\\xff\nb" in shown


@pytest.mark.kafka
def test_replay_wants_to_be_told_what(linkstatus: Cli) -> None:
    assert linkstatus.run("dead-letters", "replay").exit_code == 2
    assert linkstatus.run("dead-letters", "replay", "0/0", "--all").exit_code == 2
    assert linkstatus.run("dead-letters", "replay", "--all").exit_code == 0
    wrong = linkstatus.run("dead-letters", "list", "--provider", "pong")
    assert (wrong.exit_code, "pong is not one of ping" in wrong.stderr) == (2, True)


@pytest.mark.kafka
def test_topics_are_created_and_checked(bare_kafka: Cluster, tmp_path: Path) -> None:
    linkstatus = Cli(
        {
            "LINKSTATUS_BROKERS": bare_kafka.brokers,
            "LINKSTATUS_TOPIC_PREFIX": bare_kafka.prefix,
            "LINKSTATUS_DATA_DIR": str(tmp_path),
            "LINKSTATUS_PARTITIONS": "1",
        }
    )
    missing = linkstatus.run("topics", "check", "--json")
    checked = json.loads(missing.stdout)
    assert (missing.exit_code != 0, checked["well"]) == (True, False)
    assert len(checked["differences"]) == checked["topics"]
    made = json.loads(linkstatus.ok("topics", "create", "--json"))
    assert (len(made["made"]), made["there"]) == (checked["topics"], 0)
    assert "0 made" in linkstatus.ok("topics", "create")
    linkstatus.ok("topics", "check")
    assert json.loads(linkstatus.ok("topics", "check", "--json"))["well"]
    acls = [json.loads(line) for line in linkstatus.ok("topics", "acls", "--json").splitlines()]
    assert {one["principal"] for one in acls} >= {"User:linkstatus-work", "User:linkstatus-board"}


@pytest.mark.kafka
def test_doctor_is_content_where_all_is_well(linkstatus: Cli) -> None:
    report = linkstatus.ok("doctor")
    assert "wrong" not in report


@pytest.mark.kafka
def test_doctor_names_the_setting_to_change(
    linkstatus: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINKSTATUS_DATABASE_URL", "nonsense")
    monkeypatch.setenv("LINKSTATUS_REPLICATION", "3")
    monkeypatch.setenv("LINKSTATUS_HTTP__HOST", "0.0.0.0")
    result = linkstatus.run("doctor")
    assert result.exit_code != 0
    for setting in ("DATABASE_URL", "REPLICATION", "BOARD__TOKEN"):
        assert f"LINKSTATUS_{setting}" in result.stdout
