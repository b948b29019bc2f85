"""`make test-pythons` tries the Pythons that the package says it supports."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_sessions_are_the_versions_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYENV_VERSION", "given")  # else the noxfile chooses it
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec
    assert spec.loader
    noxfile = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(noxfile)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    promised = re.findall(r"Python :: (\d\.\d+)", "\n".join(project["classifiers"]))
    assert promised == noxfile.PYTHONS == noxfile.fast.python
    assert project["requires-python"] == f">={promised[0]}"
    readme = (ROOT / "README.md").read_text()
    assert all(version in readme for version in promised)
    fast = re.search(r'quick -m "(.*)"', (ROOT / "Makefile").read_text())
    assert fast
    assert fast[1] == noxfile.FAST
