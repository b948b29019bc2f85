"""`linkstatus dead-letters`: list, show, replay, resolve and reopen."""

import json
import sys
from datetime import UTC, datetime

import pytest

from connectors.kafka.cluster import Cluster
from tests.support.reading import read_all, write_all
from tests.support.shell import Shell

pytestmark = pytest.mark.kafka


def bury(kafka: Cluster, body: bytes = b"{", topic: str = "callbacks.ping", **headers: str) -> None:
    headers = {"origin": f"{topic}/0/0", **headers}
    encoded = [(name.replace("_", "-"), text.encode()) for name, text in headers.items()]
    write_all(kafka, "dead-letters", [(b"ping:l-1", body)], headers=encoded)


def places(linkstatus: Shell, *options: str) -> list[str]:
    rows = linkstatus.rows("dead-letters", "list", *options)
    return [f"{row['partition']}/{row['offset']}" for row in rows]


def test_dead_letter_is_listed_shown_and_replayed(linkstatus: Shell, kafka: Cluster) -> None:
    received = {"provider": "ping", "source": "callback", "received_at": "1700000000000"}
    bury(kafka, b"\x00\x1b]0;owned\x07broken", stage="normalize", reason="no JSON", **received)
    heading, first, second = linkstatus.ok("dead-letters", "list").splitlines()
    assert heading.split() == ["id", "time", "dead", "letter"]
    place, day, time, *rest = first.split()
    assert (rest, second.strip()) == (["normalize", "callbacks.ping/0/0"], "no JSON")
    assert datetime.fromisoformat(f"{day}T{time}").tzinfo == UTC
    (row,) = linkstatus.rows("dead-letters", "list")
    assert row["headers"]["reason"] == "no JSON"
    assert (row["replayed"], row["resolved"]) == (None, None)
    shown = linkstatus.ok("dead-letters", "show", place)
    assert "reason: no JSON\n" in shown
    assert shown.endswith("\x00\x1b]0;owned\x07broken")  # a pipe gets the bytes

    linkstatus.ok("dead-letters", "replay", place, "--by", "ada")
    again = linkstatus.json("tail", "callbacks.ping", "--from-beginning", "--exit-at-end")
    assert (again["key"], again["value"]) == ("ping:l-1", "\x00\x1b]0;owned\x07broken")
    assert again["headers"].pop("replay-id")
    assert again["headers"] == {
        "provider": "ping",
        "source": "replay",
        "received-at": "1700000000000",
        "replay-of": f"dead-letters/{place}",
    }
    assert places(linkstatus) == []
    assert "replayed by ada" in linkstatus.ok("dead-letters", "list", "--show", "all")
    (row,) = linkstatus.rows("dead-letters", "list", "--show", "all")
    assert row["replayed"]["by"] == "ada"
    assert row["replayed"]["at"] > 1_700_000_000_000_000


def test_replay_counts_asks_and_does_not_repeat(linkstatus: Shell, kafka: Cluster) -> None:
    assert linkstatus.json("dead-letters", "replay", "--all")["count"] == 0
    bury(kafka, reason="no JSON")
    bury(kafka, reason="No json")
    bury(kafka, topic="callbacks.peach", reason="odd")

    def published() -> int:
        return len(read_all(kafka, "callbacks.ping")) + len(read_all(kafka, "callbacks.peach"))

    filtered = ("dead-letters", "replay", "--reason", "no json", "--provider", "ping")
    dry = linkstatus.run(*filtered, "--dry-run", "--json")
    assert (dry.code, "2 dead letters to replay" in dry.err) == (0, True)
    reasons = [{"topic": "callbacks.ping", "reason": r, "count": 1} for r in ("no JSON", "No json")]
    assert json.loads(dry.out) == {"count": 2, "published": 0, "reasons": reasons}
    unconfirmed = linkstatus.run(*filtered)
    assert (unconfirmed.code, "replay 2?" in unconfirmed.err) == (1, True)
    assert published() == 0
    linkstatus.ok(*filtered, "--yes", "--rate", "1000")
    assert "0 dead letters to replay" in linkstatus.run(*filtered, "--yes").err
    assert published() == 2
    assert "1 dead letter to" in linkstatus.run("dead-letters", "replay", "--all", "--yes").err
    counts = linkstatus.json(*filtered, "--yes", "--again")
    assert (counts["count"], counts["published"]) == (2, 2)
    assert published() == 5


def test_junk_is_resolved_left_out_of_replays_and_reopened(
    linkstatus: Shell, kafka: Cluster
) -> None:
    for reason in ("no JSON", "no JSON", "unknown status"):
        bury(kafka, reason=reason)
    junk, other, good = places(linkstatus)
    assert places(linkstatus, "--limit", "1") == [junk]

    filter_ = ("--reason", "no json")
    filtered = ("dead-letters", "resolve", *filter_, "--note", "a scanner", "--by", "ada")
    dry = linkstatus.run(*filtered, "--dry-run", "--json")
    assert (dry.code, "2 open dead letters" in dry.err) == (0, True)
    assert dry.out.startswith('{"count":2,"marked":0,')
    unconfirmed = linkstatus.run(*filtered)
    assert (unconfirmed.code, "resolve 2?" in unconfirmed.err) == (1, True)
    assert places(linkstatus) == [junk, other, good]
    assert linkstatus.json(*filtered, "--yes")["marked"] == 2
    assert places(linkstatus) == [good]
    assert places(linkstatus, "--show", "resolved") == [junk, other]
    listed = linkstatus.ok("dead-letters", "list", "--show", "all")
    assert "resolved by ada: a scanner" in listed
    assert max(map(len, listed.splitlines())) <= 80
    mark = linkstatus.rows("dead-letters", "list", "--show", "all")[0]["resolved"]
    assert (mark["by"], mark["note"]) == ("ada", "a scanner")
    assert "0 open dead letters" in linkstatus.run(*filtered, "--yes").err
    every = ("dead-letters", "replay", "--all", "--again", "--dry-run")
    assert linkstatus.json(*every)["count"] == 1

    failed = linkstatus.run("dead-letters", "resolve", junk, good, good)
    assert (failed.code, "1 of these are not open" in failed.err) == (1, True)
    assert places(linkstatus) == []
    linkstatus.ok("dead-letters", "reopen", good)
    linkstatus.ok("dead-letters", "reopen", "--provider", "ping", "--yes")
    assert places(linkstatus) == [junk, other, good]
    failed = linkstatus.run("dead-letters", "reopen", junk)
    assert (failed.code, "1 of these are not resolved" in failed.err) == (1, True)


@pytest.mark.parametrize("command", ["replay", "resolve", "reopen"])
@pytest.mark.parametrize("args", ["", "0/0 --all", "--until soon", "--provider pong"])
def test_command_needs_exactly_one_valid_choice(shell: Shell, command: str, args: str) -> None:
    assert shell.run("dead-letters", command, *args.split()).code == 2


@pytest.mark.parametrize("time", ["yesterday", "2030-01-01T00:00"])
def test_wrong_time_is_refused(shell: Shell, time: str) -> None:
    ran = shell.run("dead-letters", "list", "--since", time)
    assert (ran.code, time in ran.err) == (2, True)


@pytest.mark.parametrize(("place", "code"), [("0/99", 1), ("7/0", 1), ("x", 2), ("0", 2)])
def test_missing_dead_letter_fails(linkstatus: Shell, place: str, code: int) -> None:
    assert linkstatus.run("dead-letters", "show", place).code == code


def test_terminal_gets_control_characters_as_escapes(
    linkstatus: Shell, kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anyone can send a callback that no rule accepts; a person looks at it here."""
    bury(kafka, b"a\x1b]0;owned\x07\xc2\x9b2J\xff\nb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    (place,) = places(linkstatus)
    shown = linkstatus.ok("dead-letters", "show", place)
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)
    assert "\\x1b]0;owned\\x07\\x9b2J\\xff\nb" in shown
