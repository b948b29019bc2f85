"""`make test-pythons` runs the Pythons that the package supports."""

import importlib.util
import re
import tomllib

import pytest

from tests.support.documents import README, ROOT


def test_sessions_are_the_supported_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYENV_VERSION", "set")  # else the noxfile sets it
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec
    assert spec.loader
    noxfile = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(noxfile)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = re.findall(r"Python :: (\d\.\d+)", "\n".join(project["classifiers"]))
    assert supported == noxfile.PYTHONS == noxfile.fast.python
    assert project["requires-python"] == f">={supported[0]}"
    assert all(version in README for version in supported)
    fast = re.search(r'quick -m "(.*)"', (ROOT / "Makefile").read_text())
    assert fast
    assert fast[1] == noxfile.FAST
