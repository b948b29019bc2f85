"""`linkstatus up` as a user has it: one command, one callback, Ctrl-C, and nothing left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from streams import child
from tests.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.alone]

ROOT = Path(__file__).parents[2]
_READY_SECONDS = 90.0
_STOP_SECONDS = 10.0


class Up:
    """A running `linkstatus up`, its output in a file, and all its descendants."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("LINKSTATUS_")},
            "LINKSTATUS_DATA_DIR": str(data_dir),
            "PYTHONPATH": str(ROOT),
        }
        self.log = data_dir.with_suffix(".out")
        self.process: psutil.Popen | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "streams.cli", "up", "--port", "0"]
        with self.log.open("wb") as out:
            # Not where the tests run, so that no `.env` of the developer's counts.
            self.process = psutil.Popen(
                command, cwd=self.data_dir.parent, env=self.env, stdout=out, stderr=out
            )
        until_sync(
            lambda: not self.process.is_running() or "callbacks 0" in self.text(),  # type: ignore[union-attr]
            "everything to be ready",
            _READY_SECONDS,
        )

    def text(self) -> str:
        return self.log.read_text()

    def cli(self, *args: str) -> str:
        """Another terminal's command."""
        result = subprocess.run(
            [sys.executable, "-m", "streams.cli", *args],
            cwd=self.data_dir.parent,
            env=self.env,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def stop(self, number: signal.Signals = signal.SIGINT) -> float:
        """Sends the signal and returns the seconds it took until nothing was left."""
        assert self.process
        family = [self.process, *self.process.children(recursive=True)]
        started = time.monotonic()
        self.process.send_signal(number)
        assert self.process.wait(3 * _STOP_SECONDS) == 0, self.text()
        took = time.monotonic() - started
        assert [one for one in family if one.is_running()] == []
        return took


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    up = Up(tmp_path / "data")
    yield up
    if up.process and up.process.is_running():
        up.process.kill()


def test_one_command_takes_a_callback_ends_in_time_and_goes_on_later(up: Up) -> None:
    up.start()
    page = re.search(r"page +(\S+)", up.text())
    assert page, up.text()
    assert up.cli("send", "peach", "--example", "completed").split()[-1] == "200"
    status = ("tail", "link-status", "--from-beginning", "--exit-at-end", "--json")
    until_sync(lambda: '"status":"PAID"' in up.cli(*status), "the link to be paid")
    assert up.cli("doctor")
    assert up.stop() < _STOP_SECONDS
    assert "had to be killed" not in up.text()

    up.start()
    assert '"status":"PAID"' in up.cli(*status)
    assert up.stop(signal.SIGTERM) < _STOP_SECONDS


def test_a_killed_up_leaves_no_process(up: Up) -> None:
    up.start()
    assert up.process
    family = [up.process, *up.process.children(recursive=True)]
    assert len(family) > 5
    up.process.kill()
    up.process.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def test_what_is_killed_comes_back(up: Up) -> None:
    up.start()
    assert up.process
    for victim in up.process.children():
        victim.kill()
    until_sync(lambda: "the broker ended" in up.text(), "the broker's end to be noticed")
    until_sync(lambda: "200\n" in _try_send(up), "a callback to be taken again", 60)
    assert up.stop() < _STOP_SECONDS


def _try_send(up: Up) -> str:
    try:
        return up.cli("send", "peach", "--example", "opened")
    except AssertionError:
        return ""


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert child.free_port(port) != port
        result = subprocess.run(
            [sys.executable, "-m", "streams.cli", "up", "--port", str(port)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "LINKSTATUS_DATA_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
        )
    assert result.returncode == 1
    assert f"port {port} is in use" in result.stderr
