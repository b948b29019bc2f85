"""The data folder of `up`: one holder, a note for other terminals, secrets for the owner alone."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from streams import running


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the test's own, and no trace of what `settings()` puts into the environment."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("LINKSTATUS_")}
    monkeypatch.setattr(os, "environ", kept)
    os.environ["LINKSTATUS_DATA_DIR"] = str(tmp_path)


def test_a_second_up_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with (
        running.holding(tmp_path),
        pytest.raises(running.AlreadyRunning, match=str(tmp_path)),
        running.holding(tmp_path),
    ):
        pass
    with running.holding(tmp_path):
        pass


def test_other_commands_find_what_runs_while_it_runs(tmp_path: Path) -> None:
    with running.holding(tmp_path):
        running.note(tmp_path, {"LINKSTATUS_BROKERS": "host:1", "LINKSTATUS_PARTITIONS": "3"})
        os.environ["LINKSTATUS_PARTITIONS"] = "5"
        found = running.settings()
    assert found.brokers == "host:1"
    assert found.partitions == 5, "what is set wins"
    assert not (tmp_path / "up.json").exists()


def test_the_note_of_a_killed_up_is_not_believed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    word = {"pid": ended.pid, "environment": {"LINKSTATUS_BROKERS": "host:1"}}
    (tmp_path / "up.json").write_text(json.dumps(word))
    assert running.settings().brokers is None


def test_the_token_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    token = running.board_token(tmp_path)
    assert len(token) >= 32
    assert running.board_token(tmp_path) == token
    assert stat.S_IMODE((tmp_path / "board-token").stat().st_mode) == 0o600
