"""Format, lint and types, as tests: what a reader may rely on everywhere."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.style

ROOT = Path(__file__).parent.parent
LONGEST_FILE = 350


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("ruff check", id="lint"),
        pytest.param("ruff format --check", id="format"),
        pytest.param("mypy", id="types"),
    ],
)
def test_the_code_is_clean(command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *command.split()], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_file_outgrows_a_reader() -> None:
    sources = [
        f for part in ("schemas", "connectors", "streams") for f in (ROOT / part).rglob("*.py")
    ]
    sizes = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in sources}
    assert {name: size for name, size in sizes.items() if size > LONGEST_FILE} == {}
