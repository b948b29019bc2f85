"""The commands where `receive` and `board` run apart, each on a port of its own."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette

from connectors.board import BoardConfig, application, open_board
from connectors.board.keep import keep
from connectors.edge.access import Access
from connectors.kafka import Cluster
from connectors.process import Address, probes
from connectors.receive import Edge, in_front, routes
from connectors.registry import PROVIDERS
from schemas import topics
from streams import checkup, plan, settings
from streams.finding import Finding
from tests.connectors.board.samples import Make
from tests.connectors.outside import Shelf
from tests.connectors.test_receive import KeyRing
from tests.streams.cli.shell import Shell, serving
from tests.waiting import until_sync

TOKEN = "s3cret-token"
NOWHERE = "http://127.0.0.1:7"
BOARD = "LINKSTATUS_BOARD__URL"


@pytest.fixture
def shelf(shell: Shell) -> Iterator[Shelf]:
    """What the edge has taken that the shell is told of."""
    shelf, access = Shelf(), Access(SecretStr(TOKEN), local=True)
    edge = Edge(settings.load().providers(), {}, shelf, KeyRing(), access)
    app = Starlette(routes=[*routes(edge), *probes(lambda: None)])
    shell.set(BOARD__TOKEN=TOKEN, SANDBOX__PORT="9")
    with serving(in_front(edge, app)) as url:
        shell.set(EDGE_URL=url)
        yield shelf


@pytest.fixture
def board(shell: Shell, tmp_path: Path) -> Iterator[str]:
    """The address of a board that knows one link and an anomaly, and that the shell is told of."""
    make, url = Make(), f"sqlite:///{tmp_path / 'board.sqlite'}"
    config = BoardConfig(
        Cluster("127.0.0.1:1"), tuple(PROVIDERS), url, Address("127.0.0.1", 0), TOKEN
    )
    board = open_board(config)
    keep(board.store, [make.message(topics.ANOMALIES, make.anomaly("a1"))])
    keep(board.store, make.statuses(make.status()))
    with closing(board.store), serving(application(board, probes(lambda: None))) as address:
        shell.set(BOARD__URL=address)
        yield address


def looked() -> dict[str, Finding]:
    return {one.check: one for one in checkup.examine(settings.load(), ask_providers=False)}


def test_each_command_asks_the_one_it_is_for(shell: Shell, shelf: Shelf, board: str) -> None:
    assert json.loads(shell.ok("status", "ping", "link-1", "--json"))["link_id"] == "link-1"
    assert json.loads(shell.ok("links", "list", "--json"))["link_id"] == "link-1"
    assert json.loads(shell.ok("anomalies", "list", "--json"))["event_id"] == "a1"
    done = shell.ok("anomalies", "done", "--all", "--dry-run", "--json")
    assert json.loads(done) == {"open": 1, "marked": 0}
    shell.ok("send", "ping", "--example", "created")
    assert [one.topic for one in shelf.records] == ["callbacks.ping"]
    found = looked()
    assert (found["edge"].state, found["board"].said) == ("ok", f"ready at {board}")


@pytest.mark.slow
def test_a_play_registers_at_the_edge_and_compares_with_the_board(
    shell: Shell, shelf: Shelf, board: str, sandbox: Callable[..., Path]
) -> None:
    sandbox()
    play = ("sandbox", "play", "--links", "8", "--wait", "0", "--json")
    until_sync(lambda: shell.run(*play).code != 3, "the sandbox")
    shelf.records.clear()
    ran = shell.run(*play)
    assert (ran.code, "the board does not agree" in ran.err) == (1, True), ran
    assert len(shelf.of(topics.LINKS.name)) > 0
    assert {row["seen"] for row in json.loads(ran.out)["rows"]} == {"not known", "not closed"}
    shell.set(BOARD__URL=os.environ["LINKSTATUS_EDGE_URL"])
    ran = shell.run(*play)
    assert (ran.code, ran.out, BOARD in ran.err) == (1, "", True)


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    "words", ["status ping link-1", "links list", "anomalies list", "anomalies open a1"]
)
def test_an_edge_that_is_asked_for_the_board_names_the_setting(shell: Shell, words: str) -> None:
    ran = shell.run(*words.split())
    assert (ran.code, ran.out) == (1, ""), ran
    message, hint = ran.err.splitlines()
    assert "something else is there" in message
    assert BOARD in hint


@pytest.mark.usefixtures("shelf")
def test_the_doctor_finds_no_board_at_an_edge() -> None:
    found = looked()
    assert found["edge"].state == "ok"
    assert (found["board"].state, found["board"].settings) == ("wrong", (BOARD,))


def test_either_that_is_away_names_its_own_setting(shell: Shell, shelf: Shelf, board: str) -> None:
    shell.set(BOARD__URL=NOWHERE)
    ran = shell.run("status", "ping", "link-1")
    assert (ran.code, BOARD in ran.err, "EDGE_URL" in ran.err) == (3, True, False)
    assert looked()["board"][1::2] == ("note", (BOARD,))
    shell.set(BOARD__URL=board, EDGE_URL=NOWHERE)
    ran = shell.run("send", "ping", "--example", "created")
    assert (ran.code, "LINKSTATUS_EDGE_URL" in ran.err, BOARD in ran.err) == (3, True, False)


def test_up_has_its_board_where_its_edge_is(shell: Shell) -> None:
    shell.set(BOARD__URL="http://elsewhere:8081", BOARD__TOKEN=TOKEN)
    made = plan.plan(settings.load(), Cluster("127.0.0.1:9"), with_sandbox=False)
    assert made.environment[BOARD] == made.environment["LINKSTATUS_EDGE_URL"]


def test_an_address_that_is_none_names_itself(shell: Shell) -> None:
    shell.set(BOARD__URL="board:8080")
    ran = shell.run("status", "ping", "link-1")
    assert (ran.code, BOARD in ran.err) == (2, True)
