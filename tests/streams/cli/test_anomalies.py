"""`linkstatus anomalies`: what is open is listed, marked as done, and opened again."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors import noting
from connectors.board import BoardConfig, application, open_board
from connectors.board.keep import keep
from connectors.kafka import Cluster
from connectors.process import Address
from connectors.registry import PROVIDERS
from schemas import topics
from schemas.records import Notice
from tests.connectors.board.samples import Make
from tests.streams.cli.shell import Shell, serving

TOKEN = "s3cret-token"


@pytest.fixture
def world(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A board that knows three anomalies, and reads at once what is published."""
    make = Make()
    config = BoardConfig(
        Cluster("127.0.0.1:1"),
        tuple(PROVIDERS),
        f"sqlite:///{tmp_path / 'board.sqlite'}",
        Address("127.0.0.1", 0),
        TOKEN,
    )
    board = open_board(config)

    def kept(_: Cluster, notices: Iterable[Notice], seconds: float = 0) -> None:
        keep(board.store, [make.message(topics.NOTICES, one) for one in notices])

    monkeypatch.setattr(noting, "keep", kept)
    seen = [make.anomaly("a1"), make.anomaly("a2"), {**make.anomaly("a3"), "kind": "STALE"}]
    keep(board.store, [make.message(topics.ANOMALIES, one) for one in seen])
    keep(board.store, make.statuses(make.status(anomalies=["UNDERPAID"])))
    with serving(application(board, [])) as url:
        shell.set(EDGE_URL=url, BOARD__TOKEN=TOKEN)
        yield shell
    board.store.close()


def listed(shell: Shell, *words: str) -> list[dict[str, Any]]:
    out = shell.ok("anomalies", "list", "--json", *words)
    return [json.loads(line) for line in out.splitlines()]


def test_what_is_open_is_listed_with_its_evidence_and_its_id(world: Shell) -> None:
    out = world.ok("anomalies", "list", "--kind", "underpaid")
    assert out.count("UNDERPAID") == 2
    for word in ("ping", "link-1", "received 1.00 of 12.34 EUR", "a1", "a2"):
        assert word in out
    assert [one["event_id"] for one in listed(world)] == ["a3", "a2", "a1"]
    assert [one["event_id"] for one in listed(world, "--limit", "1")] == ["a3"]
    ran = world.run("anomalies", "list", "--provider", "peach")
    assert (ran.code, ran.out, ran.err) == (0, "", "none\n")


def test_one_is_marked_by_its_id_and_opened_again(world: Shell) -> None:
    out = world.ok("anomalies", "done", "a1", "--by", "ada", "--note", "refunded", "--json")
    assert json.loads(out) == {"open": 1, "marked": 1}
    assert {one["event_id"] for one in listed(world)} == {"a2", "a3"}
    (told,) = [one["done"] for one in listed(world, "--all") if one["done"]]
    assert (told["by"], told["note"]) == ("ada through the API, from 127.0.0.1", "refunded")
    assert "done by ada" in world.ok("anomalies", "list", "--all")
    life = world.ok("status", "ping", "link-1")
    assert "DONE" in life
    assert "refunded" in life
    again = world.run("anomalies", "done", "a1", "nobody")
    assert (again.code, "2 of these ids are of no open anomaly" in again.err) == (1, True)
    world.ok("anomalies", "open", "a1")
    assert len(listed(world)) == 3
    assert world.run("anomalies", "open", "a1").code == 1


def test_many_are_counted_before_they_are_marked(
    world: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = world.run("anomalies", "done", "--kind", "UNDERPAID", "--dry-run")
    assert (ran.code, ran.err) == (0, "2 open anomalies\n")
    assert len(listed(world)) == 3
    monkeypatch.setattr("typer.confirm", lambda *_, **__: None)
    world.ok("anomalies", "done", "--kind", "UNDERPAID")
    assert [one["event_id"] for one in listed(world)] == ["a3"]
    world.ok("anomalies", "done", "--all", "--yes")
    ran = world.run("anomalies", "done", "--all", "--json")
    assert (ran.code, json.loads(ran.out)) == (0, {"open": 0, "marked": 0})


@pytest.mark.parametrize(
    "words",
    [
        ("done",),
        ("done", "a1", "--all"),
        ("done", "--kind", "ODD", "--yes"),
        ("list", "--kind", "ODD"),
        ("list", "--provider", "pong"),
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_2(world: Shell, words: tuple[str, ...]) -> None:
    assert world.run("anomalies", *words).code == 2
    assert len(listed(world)) == 3


def test_without_the_token_nothing_is_marked(world: Shell) -> None:
    world.set(BOARD__TOKEN="guess")
    ran = world.run("anomalies", "done", "a1")
    assert (ran.code, "LINKSTATUS_BOARD__TOKEN" in ran.err) == (2, True)
