"""`linkstatus anomalies`: list, resolve and reopen, on a real board."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from connectors.kafka.cluster import Cluster
from connectors.triage import audit
from schemas import topics
from schemas.codec import Codecs
from schemas.records import Notice
from tests.connectors.board.samples import Make, save
from tests.support.serving import serving_board
from tests.support.shell import Shell

TOKEN = "s3cret-token"


@pytest.fixture
def world(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A board with three anomalies that reads notices as soon as they are published."""
    make = Make()

    def publish(_: Cluster, __: Codecs, notices: Iterable[Notice], seconds: float = 0) -> None:
        save(store, [make.message(topics.NOTICES, one) for one in notices])

    monkeypatch.setattr(audit, "publish", publish)
    with serving_board(tmp_path, TOKEN) as (url, store):
        anomalies = [
            make.anomaly("a1"),
            make.anomaly("a2"),
            {**make.anomaly("a3"), "kind": "STALE"},
        ]
        save(store, [make.message(topics.ANOMALIES, one) for one in anomalies])
        save(store, make.statuses(make.status(anomalies=["UNDERPAID"])))
        shell.set(EDGE_URL=url, BOARD__TOKEN=TOKEN)
        yield shell


def ids(shell: Shell, *options: str) -> list[str]:
    return [one["event_id"] for one in shell.rows("anomalies", "list", *options)]


def test_list_shows_open_anomalies_with_evidence_and_id(world: Shell) -> None:
    out = world.ok("anomalies", "list", "--kind", "underpaid")
    assert out.count("UNDERPAID") == 2
    for word in ("ping", "link-1", "received 1.00 of 12.34 EUR", "a1", "a2"):
        assert word in out
    assert ids(world) == ["a3", "a2", "a1"]
    assert ids(world, "--limit", "1") == ["a3"]
    assert ids(world, "--link", "link-1", "--since", "2023-01-01T00:00Z") == ["a3", "a2", "a1"]
    for nothing in (("--link", "link-2"), ("--since", "1h"), ("--until", "2023-01-01T00:00Z")):
        assert ids(world, *nothing) == []
    ran = world.run("anomalies", "list", "--provider", "peach")
    assert (ran.code, ran.out, ran.err) == (0, "", "none\n")


def test_named_anomaly_is_resolved_and_reopened(world: Shell) -> None:
    named = ("anomalies", "resolve", "a1", "--by", "ada", "--note", "refunded")
    assert world.json(*named) == {"count": 1, "marked": 1}
    assert ids(world) == ["a3", "a2"]
    (resolved,) = world.rows("anomalies", "list", "--show", "resolved")
    mark = resolved["resolved"]
    assert (mark["by"], mark["note"]) == ("ada through the API, from 127.0.0.1", "refunded")
    assert "resolved by ada" in world.ok("anomalies", "list", "--show", "all")
    drawing = world.ok("status", "ping", "link-1")
    assert "RESOLVED" in drawing
    assert "refunded" in drawing
    again = world.run("anomalies", "resolve", "a1", "unknown")
    assert (again.code, "2 of these are not open" in again.err) == (1, True)
    assert world.json("anomalies", "reopen", "a1") == {"marked": 1}
    assert len(ids(world)) == 3
    again = world.run("anomalies", "reopen", "a1")
    assert (again.code, "1 of these are not resolved" in again.err) == (1, True)


def test_filtered_anomalies_are_counted_before_they_are_resolved(
    world: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = world.run("anomalies", "resolve", "--kind", "UNDERPAID", "--dry-run")
    assert (ran.code, ran.err) == (0, "2 open anomalies\n")
    ran = world.run("anomalies", "resolve", "--link", "link-2", "--dry-run")
    assert (ran.code, ran.err) == (0, "0 open anomalies\n")
    unconfirmed = world.run("anomalies", "resolve", "--kind", "UNDERPAID")
    assert (unconfirmed.code, "resolve 2?" in unconfirmed.err) == (1, True)
    assert len(ids(world)) == 3
    monkeypatch.setattr("typer.confirm", lambda *_, **__: None)
    world.ok("anomalies", "resolve", "--kind", "UNDERPAID")
    assert ids(world) == ["a3"]
    world.ok("anomalies", "resolve", "--all", "--yes")
    assert world.json("anomalies", "resolve", "--all") == {"count": 0, "marked": 0}


@pytest.mark.parametrize(
    "args",
    [
        *("resolve", "resolve a1 --all", "resolve --kind ODD --yes", "reopen"),
        *("list --provider pong", "list --show some"),
    ],
)
def test_wrong_use_ends_with_2(world: Shell, args: str) -> None:
    assert world.run("anomalies", *args.split()).code == 2
    assert len(ids(world)) == 3


def test_board_refuses_a_mark_without_the_token(world: Shell) -> None:
    world.set(BOARD__TOKEN="guess")
    ran = world.run("anomalies", "resolve", "a1")
    assert (ran.code, "LINKSTATUS_BOARD__TOKEN" in ran.err) == (2, True)


def test_lookup_that_the_board_refuses_ends_with_its_reason(world: Shell) -> None:
    unknown = world.run("links", "lookup", "ping", "nope/ö")
    assert (unknown.code, unknown.out) == (1, "")
    assert unknown.err == world.run("status", "ping", "nope/ö").err
    refused = world.run("links", "lookup", "ping", "link-1")
    assert refused.code == 1
    assert refused.err.endswith("answered 409: the credentials for the API of ping are not set\n")
