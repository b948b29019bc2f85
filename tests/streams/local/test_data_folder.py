"""The data folder of `up`: one owner, a note for other terminals, secrets for the user alone."""

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from schemas import limits
from streams.local import data_folder
from tests.support.shell import Shell


@pytest.fixture(autouse=True)
def quiet(shell: Shell, tmp_path: Path) -> None:
    """Settings of the test's own."""
    shell.set(DATA_DIR=str(tmp_path))


def test_f7_second_up_on_the_same_folder_names_the_first(tmp_path: Path) -> None:
    (tmp_path / "up.lock").write_text("12345\n")
    with (
        data_folder.locked(tmp_path),
        pytest.raises(data_folder.AlreadyRunning) as raised,
        data_folder.locked(tmp_path),
    ):
        pass
    assert f"already running here (pid {os.getpid()})" in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    with data_folder.locked(tmp_path):
        pass


@pytest.mark.parametrize(("free", "usable"), [(-1, False), (0, True)])
def test_f6_up_needs_free_space(
    free: int, usable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=limits.FREE_DISK_BYTES + free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    message = f"^{tmp_path} has 255 MiB of free space, at least 256 MiB are needed: free some; .*$"
    refusal = pytest.raises(data_folder.NotUsable, match=message)
    with nullcontext() if usable else refusal, data_folder.locked(tmp_path / "data"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_f6_disk_that_takes_no_data_is_named(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    reason = f"cannot write into {tmp_path}: {os.strerror(number)}"
    with pytest.raises(data_folder.NotUsable, match=reason), data_folder.locked(tmp_path):
        pass


def test_f8_only_the_owner_enters_the_data_folder(tmp_path: Path) -> None:
    folder, shared = tmp_path / "data", tmp_path / "shared"
    folder.mkdir(mode=0o755)
    shared.mkdir()
    shared.chmod(0o1777)
    for each in (folder, shared):
        with data_folder.locked(each):
            pass
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777, "others use it, too"


def test_commands_find_the_running_system(tmp_path: Path, shell: Shell) -> None:
    shell.set(PARTITIONS="5")
    with data_folder.locked(tmp_path):
        noted = {"LINKSTATUS_BROKERS": "host:1", "LINKSTATUS_PARTITIONS": "3"}
        data_folder.write_note(tmp_path, noted)
        settings = data_folder.settings()
    assert settings.brokers == "host:1"
    assert settings.partitions == 5, "the environment takes precedence"
    assert not (tmp_path / "up.json").exists()


def test_note_of_a_killed_up_is_ignored(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    note = {"pid": ended.pid, "environment": {"LINKSTATUS_BROKERS": "host:1"}}
    (tmp_path / "up.json").write_text(json.dumps(note))
    assert data_folder.settings().brokers is None


def test_token_is_created_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    token = data_folder.board_token(tmp_path)
    assert len(token) >= 32
    assert data_folder.board_token(tmp_path) == token
    assert stat.S_IMODE((tmp_path / "board-token").stat().st_mode) == 0o600
