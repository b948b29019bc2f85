"""The wheel that an installation gets: it carries its data files and its types."""

import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.documents import ROOT
from tests.support.processes import run

pytestmark = pytest.mark.slow

# A service of a user. Without `py.typed` mypy finds no types in an installed package.
SERVICE = """\
from schemas.topics import ORDER_CLOSE
from streams import consume

with consume(ORDER_CLOSE, group="invoicing") as records:
    for record in records:
        reveal_type(record.value["total_minor"])
        record.value["total"]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_wheel_contains_every_data_file(wheel: Path) -> None:
    contents = set(zipfile.ZipFile(wheel).namelist())
    files = {
        str(file.relative_to(ROOT))
        for package in ("schemas", "connectors", "streams")
        for pattern in ("*.py", "*.typed", "*.avsc", "*.json", "*.html", "*.css", "*.js", "*.mako")
        for file in (ROOT / package).rglob(pattern)
    }
    assert files - contents == set()
    assert any(name.endswith("/licenses/LICENSE") for name in contents)


def test_mypy_sees_the_types_of_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """Without the dependencies: types of our own do not need them."""
    venv.create(tmp_path / "venv", symlinks=True)
    python, here = tmp_path / "venv/bin/python", sys.executable
    run(here, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    (tmp_path / "service.py").write_text(SERVICE)
    mypy = (here, "-m", "mypy", "--strict", "--python-executable", python, "service.py")
    output = run(*mypy, cwd=tmp_path, code=1).stdout
    assert 'Revealed type is "int | None"' in output.replace("builtins.", "")
    assert 'TypedDict "OrderClose" has no key "total"' in output
    assert "Found 1 error" in output
