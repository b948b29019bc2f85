"""A shell whose settings are the test's own."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams import child
from tests.streams.cli.shell import Shell


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    for name in [name for name in os.environ if name.startswith("LINKSTATUS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)  # no `.env` of the developer's counts
    return Shell(monkeypatch, capsys, DATA_DIR=str(tmp_path / "data"))


@pytest.fixture
def sandbox(tmp_path: Path, shell: Shell) -> Iterator[Callable[..., Path]]:
    """Starts `linkstatus sandbox` with these options; what it says is in the file returned."""
    port, out, started = child.free_port(), tmp_path / "out", []
    shell.set(SANDBOX__PORT=str(port))

    def start(*options: str) -> Path:
        command = [sys.executable, "-m", "streams.cli", "sandbox", *options]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        started.append(child.spawn(command, out, env))
        return out

    yield start
    for one in started:
        child.stop(one, 10)
