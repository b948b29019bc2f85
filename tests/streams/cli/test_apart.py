"""The commands where `receive` and `board` run on different ports."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from connectors.http.access import Access
from connectors.http.server import probes
from connectors.kafka.cluster import Cluster
from connectors.receive.process import Edge
from connectors.receive.process import application as edge_application
from schemas import topics
from streams import settings
from streams.admin import doctor
from streams.admin.finding import Finding
from streams.local import processes
from streams.local.subprocesses import Ports
from tests.connectors.board.samples import Make, save
from tests.support.codecs import CODECS
from tests.support.edge import KeyRing
from tests.support.fakes import FakePublisher
from tests.support.receiver import SECRET
from tests.support.serving import serving, serving_board
from tests.support.shell import Shell

TOKEN = "s3cret-token"
NOWHERE = "http://127.0.0.1:7"
BOARD = "LINKSTATUS_BOARD__URL"


@pytest.fixture
def shelf(shell: Shell) -> Iterator[FakePublisher]:
    """The records of the shell's edge."""
    shelf, access = FakePublisher(), Access("127.0.0.1", SecretStr(TOKEN))
    edge = Edge(settings.load().existing_providers(), {}, shelf, CODECS, KeyRing(), access)
    shell.set(BOARD__TOKEN=TOKEN, SANDBOX__PORT="9")
    with serving(edge_application(edge, probes(lambda: None))) as url:
        shell.set(EDGE_URL=url)
        yield shelf


@pytest.fixture
def board(shell: Shell, tmp_path: Path) -> Iterator[str]:
    """The address of the shell's board, with one link and an anomaly."""
    make = Make()
    with serving_board(tmp_path, TOKEN) as (url, store):
        save(store, [make.message(topics.ANOMALIES, make.anomaly("a1"))])
        save(store, make.statuses(make.status()))
        shell.set(BOARD__URL=url)
        yield url


def findings() -> dict[str, Finding]:
    return {one.check: one for one in doctor.examine(settings.load(), call_providers=False)}


def test_each_command_calls_its_own_process(shell: Shell, shelf: FakePublisher, board: str) -> None:
    assert shell.json("status", "ping", "link-1")["link_id"] == "link-1"
    assert shell.json("links", "list")["link_id"] == "link-1"
    assert shell.json("anomalies", "list")["event_id"] == "a1"
    dry = shell.json("anomalies", "resolve", "--all", "--dry-run")
    assert dry == {"count": 1, "marked": 0}
    shell.ok("send", "ping", "--example", "created")
    assert [one.topic for one in shelf.records] == ["callbacks.ping"]
    found = findings()
    assert (found["edge"].state, found["board"].message) == ("ok", f"ready at {board}")


@pytest.mark.slow
def test_play_registers_at_the_edge_and_compares_with_the_board(
    shell: Shell, shelf: FakePublisher, board: str, sandbox: Callable[..., None]
) -> None:
    sandbox()
    play = ("sandbox", "play", "--links", "8", "--wait", "0", "--json")
    ran = shell.run(*play)
    assert (ran.code, "the board does not agree" in ran.err) == (1, True), ran
    assert len(shelf.of(topics.LINKS.name)) > 0
    assert '"actual":"not found"' in ran.out
    assert '"actual":"not closed"' in ran.out
    shell.set(BOARD__URL=os.environ["LINKSTATUS_EDGE_URL"])
    ran = shell.run(*play)
    assert (ran.code, ran.out, BOARD in ran.err) == (1, "", True)


@pytest.mark.usefixtures("shelf")
def test_edge_in_place_of_the_board_names_the_setting(shell: Shell) -> None:
    for args in ("status ping link-1", "links list", "anomalies list", "anomalies reopen a1"):
        ran = shell.run(*args.split())
        assert (ran.code, ran.out) == (1, ""), ran
        message, hint = ran.err.splitlines()
        assert "another program runs there" in message
        assert BOARD in hint
    found = findings()
    assert found["edge"].state == "ok"
    assert (found["board"].state, found["board"].settings) == ("wrong", (BOARD,))


def test_missing_process_names_its_own_setting(
    shell: Shell, shelf: FakePublisher, board: str
) -> None:
    shell.set(BOARD__URL=NOWHERE)
    ran = shell.run("status", "ping", "link-1")
    assert (ran.code, BOARD in ran.err, "EDGE_URL" in ran.err) == (3, True, False)
    assert findings()["board"][1::2] == ("note", (BOARD,))
    shell.set(BOARD__URL=board, EDGE_URL=NOWHERE)
    ran = shell.run("send", "ping", "--example", "created")
    assert (ran.code, "LINKSTATUS_EDGE_URL" in ran.err, BOARD in ran.err) == (3, True, False)


def test_up_has_its_board_at_its_edge(shell: Shell) -> None:
    shell.set(BOARD__URL="http://elsewhere:8081", BOARD__TOKEN=TOKEN)
    plan = processes.plan(settings.load(), Cluster("127.0.0.1:9"), False, Ports())
    assert plan.environment[BOARD] == plan.environment["LINKSTATUS_EDGE_URL"]


def test_up_runs_notify_once_there_is_an_endpoint(shell: Shell) -> None:
    def children() -> list[str]:
        plan = processes.plan(settings.load(), Cluster("127.0.0.1:9"), False, Ports())
        return [child.name for child in plan.children]

    shell.set(BOARD__TOKEN=TOKEN)
    assert children() == ["web", "work", "lookup", "settle"]
    shell.set(
        NOTIFY__ENDPOINTS__BILLING__URL="https://x.example/",
        NOTIFY__ENDPOINTS__BILLING__SECRETS=SECRET,
    )
    assert children() == ["web", "work", "lookup", "settle", "notify"]
