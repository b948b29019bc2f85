"""The checker finds every kind of damage in a history, and nothing in one without damage."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.checker import history
from tests.checker.check import check
from tests.checker.damages import DAMAGES, Lines, NotPossible
from tests.checker.findings import KINDS
from tests.checker.history import CLOSES, ROWS, SETTLEMENTS
from tests.checker.record import Line, read_line, reader_line
from tests.simulation.faults import Fault
from tests.support.documents import ROOT, rows, section

# A worker dies with open transactions, so there are records that no reader may see.
_SEEDS = (2, 4, 10)
_FAULTS = [
    Fault(at, "kill at", "w0", seconds=1.0, request="EndTxn") for at in (4.0, 6.0, 8.0, 10.0)
]
# What killed processes leave open must not warn here: the seed runs in a process of its own.
_HISTORY = """
import json
import os
import logging

from tests.simulation.faults import Fault
from tests.simulation.seed import run_seed

logging.disable(logging.CRITICAL)
print(json.dumps(run_seed({}, {!r}).lines))
"""


@cache
def good(seed: int) -> str:
    """Return a history without damage: that of a simulated seed, with more readers."""
    program, environment = _HISTORY.format(seed, _FAULTS), {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    lines = json.loads(run.stdout)
    return json.dumps([*lines, *board(lines), *webhooks(lines)])


def board(lines: Lines) -> Iterator[Line]:
    """Yield what a board would have."""
    yield reader_line("board", ROWS, "table")
    yield reader_line("board", CLOSES, "set")
    for key, value in {line["key"]: line["value"] for line in committed(lines, ROWS)}.items():
        yield read_line("board", ROWS, key=key, value=value)
    for line in committed(lines, CLOSES):
        event_id = line["value"]["event_id"]
        yield read_line("board", CLOSES, id=event_id)


def webhooks(lines: Lines) -> Iterator[Line]:
    yield reader_line("webhooks", SETTLEMENTS, "sequence")
    for line in committed(lines, SETTLEMENTS):
        event_id = line["value"]["event_id"]
        yield read_line("webhooks", SETTLEMENTS, id=event_id)


def committed(lines: Lines, topic: str) -> Iterator[Line]:
    return (
        line
        for line in lines
        if line["type"] == "record" and line["topic"] == topic and line["outcome"] == "committed"
    )


@pytest.mark.parametrize("seed", _SEEDS)
def test_history_without_damage_is_clean(seed: int) -> None:
    lines = json.loads(good(seed))
    assert check(history.of(lines)) == []
    assert sum(line.get("outcome") == "aborted" for line in lines) > 0


@pytest.mark.parametrize("name", DAMAGES)
def test_every_damage_is_possible(name: str) -> None:
    def is_possible(seed: int, chance: int) -> bool:
        try:
            DAMAGES[name].apply(json.loads(good(seed)), Random(chance))
        except NotPossible:
            return False
        return True

    assert any(is_possible(seed, chance) for seed in _SEEDS for chance in range(10))


@given(st.sampled_from(sorted(DAMAGES)), st.sampled_from(_SEEDS), st.integers())
def test_damage_is_always_found(name: str, seed: int, chance: int) -> None:
    lines = json.loads(good(seed))
    try:
        DAMAGES[name].apply(lines, Random(chance))
    except NotPossible:
        return
    found = check(history.of(lines))
    fitting = [each for each in found if each.kind == DAMAGES[name].kind]
    assert fitting, (name, found)
    assert all(each.key and each.lines for each in fitting)


def test_every_kind_of_finding_has_a_damage_and_is_explained() -> None:
    assert {damage.kind for damage in DAMAGES.values()} == {*KINDS}
    table = rows(section("docs/checker.md", "## What it finds"))
    assert [row[0] for row in table[1:]] == [*KINDS]


def test_history_of_a_young_topic_judges_only_what_it_shows() -> None:
    """Retention has deleted the first events: the rows know more than the events tell."""
    lines = copy.deepcopy(json.loads(good(2)))
    old = [line for line in lines if line.get("topic") == "link-events" and line["offset"] < 3]
    lines = [line for line in lines if line not in old]
    lines.append({"type": "partition", "topic": "link-events", "partition": 0, "start": 3})
    assert check(history.of(lines)) == []


def run(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.checker", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_command_names_each_finding_with_its_key_and_lines(tmp_path: Path) -> None:
    path, lines = tmp_path / "history.jsonl", json.loads(good(2))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    clean = run(path)
    assert (clean.returncode, clean.stdout.splitlines()[-1][-5:]) == (0, "clean")
    DAMAGES["a close is gone"].apply(lines, Random(1))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    damaged = run(path)
    assert damaged.returncode == 1
    assert "close missing: " in damaged.stdout
    assert "(lines " in damaged.stdout


def test_command_refuses_what_is_no_history(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"type": "other"}\n')
    refused = run(path)
    assert (refused.returncode, refused.stderr) == (
        2,
        "line 1: ValueError(\"unknown type 'other'\")\n",
    )
