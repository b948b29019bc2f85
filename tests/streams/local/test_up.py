"""`linkstatus up` as a user runs it: one command, one callback, Ctrl-C, no process left."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.ports import free_port
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ROOT = Path(__file__).parents[3]
CLI = [sys.executable, "-m", "streams.cli"]
_READY_SECONDS = 90.0
_STOP_SECONDS = 10.0


class Up:
    """A running `linkstatus up`, its output in a file, and all its descendants."""

    process: psutil.Popen

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("LINKSTATUS_")},
            "LINKSTATUS_DATA_DIR": str(data_dir),
            "PYTHONPATH": str(ROOT),
        }
        self.log = data_dir.with_suffix(".out")

    def start(self, **settings: str) -> list[psutil.Process]:
        """Start it; return all its processes once it is ready."""
        self.env |= {f"LINKSTATUS_{name}": text for name, text in settings.items()}
        with self.log.open("wb") as out:
            # In another folder, so that the developer's `.env` does not count.
            self.process = psutil.Popen(
                [*CLI, "up", "--port", "0"],
                cwd=self.data_dir.parent,
                env=self.env,
                stdout=out,
                stderr=out,
            )
        until_sync(
            lambda: not self.process.is_running() or "callbacks 0" in self.text(),
            "a ready system",
            _READY_SECONDS,
        )
        return [self.process, *self.process.children(recursive=True)]

    def text(self) -> str:
        return self.log.read_text()

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run a command as in another terminal."""
        return subprocess.run(
            [*CLI, *args], cwd=self.data_dir.parent, env=self.env, capture_output=True, text=True
        )

    def cli(self, *args: str) -> str:
        ran = self.run(*args)
        assert ran.returncode == 0, ran
        return ran.stdout

    def is_paid(self) -> bool:
        rows = self.cli("tail", "link-status", "--from-beginning", "--exit-at-end", "--json")
        return '"status":"PAID"' in rows

    def take_a_callback(self) -> None:
        assert self.cli("send", "peach", "--example", "completed").split()[-1] == "200"
        until_sync(self.is_paid, "the paid link")
        assert self.cli("doctor")

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Send the signal; every process ends in time."""
        family = [self.process, *self.process.children(recursive=True)]
        started = time.monotonic()
        self.process.send_signal(number)
        assert self.process.wait(3 * _STOP_SECONDS) == 0, self.text()
        assert time.monotonic() - started < _STOP_SECONDS
        assert [one for one in family if one.is_running()] == []


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    up = Up(tmp_path / "data")
    yield up
    if up.process.is_running():
        up.process.kill()


@pytest.mark.alone
def test_up_takes_a_callback_stops_in_time_and_keeps_its_data(up: Up) -> None:
    up.start()
    assert re.search(r"page +http://127\.0\.0\.1:\d+/\?token=", up.text()), up.text()
    up.take_a_callback()
    readable = [path for path in up.data_dir.rglob("*") if path.stat().st_mode & 0o077]
    assert [path for path in (up.data_dir, *readable) if path.is_file()] == [], "f8"
    assert up.data_dir.stat().st_mode & 0o077 == 0, "f8"
    second = up.run("up")
    assert second.returncode == 1, second
    assert f"already running here (pid {up.process.pid})" in second.stderr
    up.stop()
    assert "had to be killed" not in up.text()

    up.start()
    assert up.is_paid()
    up.stop(signal.SIGTERM)


@pytest.mark.alone
def test_killed_up_leaves_no_process(up: Up) -> None:
    family = up.start()
    assert len(family) > 5
    up.process.kill()
    up.process.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


@pytest.mark.long
def test_killed_children_are_restarted(up: Up) -> None:
    up.start()
    for victim in up.process.children():
        victim.kill()
    until_sync(lambda: "the broker ended" in up.text(), "the restart of the broker")
    send = ("send", "peach", "--example", "opened")
    until_sync(lambda: "200\n" in up.run(*send).stdout, "an acknowledged callback", 60)
    up.stop()


@pytest.mark.alone
@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_f4_up_runs_on_an_ipv6_address(up: Up) -> None:
    up.start(HTTP__HOST="::1", SANDBOX__HOST="[::1]")
    assert re.search(r"page +http://\[::1\]:\d+/\?token=", up.text()), up.text()
    assert re.search(r"sandbox +http://\[::1\]:\d+ ", up.text()), up.text()
    assert "waiting for" not in up.text().splitlines()[-1]
    up.take_a_callback()
    up.stop()


def test_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
        ran = Up(tmp_path / "data").run("up", "--port", str(port))
    assert ran.returncode == 1
    assert f"port {port} is in use" in ran.stderr
