"""The command line as a shell sees it: exit code, stdout, stderr."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from streams import cli

ROOT = Path(__file__).parents[2]


def run_process(
    *args: str, cwd: Path = ROOT, stdin: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own; `env` adds to the environment."""
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        input=stdin,
        capture_output=True,
        encoding="utf-8",
    )


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Shell:
    """Runs the console script in this process, with an empty stdin."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **env: str
    ) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.set(**env)

    def set(self, **env: str) -> None:
        """Set settings; the names are without LINKSTATUS_."""
        for name, value in env.items():
            self._monkeypatch.setenv(f"LINKSTATUS_{name}", value)

    def unset(self, *names: str) -> None:
        for name in names:
            self._monkeypatch.delenv(f"LINKSTATUS_{name}")

    def run(self, *args: str) -> Ran:
        self._monkeypatch.setattr(sys, "argv", ["linkstatus", *args])
        self._monkeypatch.setattr(sys, "stdin", io.StringIO())
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Ran(int(ended.value.code or 0), *self._capsys.readouterr())

    def ok(self, *args: str) -> str:
        ran = self.run(*args)
        assert ran.code == 0, ran
        return ran.out

    def rows(self, *args: str) -> list[Any]:
        """The JSON that the command prints, one value a line."""
        return [json.loads(line) for line in self.ok(*args, "--json").splitlines()]

    def json(self, *args: str) -> Any:
        """The one JSON value that the command prints."""
        (value,) = self.rows(*args)
        return value
