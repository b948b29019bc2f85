"""A shell whose settings are the test's own."""

import os
from pathlib import Path

import pytest

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
