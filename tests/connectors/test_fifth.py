"""connectors/README.md, tried: a fifth, invented provider is one folder, one golden folder and one
entry in the registry, and every suite takes it up.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
FIFTH = ROOT / "tests" / "fifth"
SUITES = [
    *(f"tests/connectors/test_{name}.py" for name in ("golden", "contract", "authenticity")),
    *(f"tests/connectors/test_sandbox_{name}.py" for name in ("lives", "sites")),
    "tests/test_imports.py",
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project."""
    skipped = shutil.ignore_patterns("__pycache__", ".*")
    for part in ("connectors", "schemas", "streams", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=skipped)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def add_acme(project: Path) -> None:
    shutil.copytree(FIFTH / "acme", project / "connectors" / "acme")
    shutil.copytree(FIFTH / "golden", project / "tests" / "golden" / "acme")
    registry = project / "connectors" / "registry.py"
    text = registry.read_text().replace(
        "from connectors.ipint", "from connectors.acme import Acme\nfrom connectors.ipint"
    )
    registry.write_text(
        text.replace('    "ipint": IPint,\n', '    "ipint": IPint,\n    "acme": Acme,\n')
    )


def run(project: Path, *suites: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "acme", *suites],
        cwd=project,
        env={**os.environ, "HYPOTHESIS_PROFILE": "quick"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_a_fifth_provider_is_taken_up_by_every_suite(project: Path) -> None:
    add_acme(project)
    ran = run(project, *SUITES)
    assert ran.returncode == 0, ran.stdout
    for suite in SUITES:
        assert f"{suite} ." in ran.stdout, suite
    settings = (
        "import os; os.environ['LINKSTATUS_ACME__API_KEY'] = 'k'\n"
        "from streams.settings import load\nfrom streams.wiring import topics\n"
        "assert load().providers()['acme'].can_look_up()\n"
        "assert 'callbacks.acme' in {topic.name for topic in topics()}"
    )
    subprocess.run([sys.executable, "-c", settings], cwd=project, check=True, timeout=60)


def test_a_provider_without_golden_cases_fails(project: Path) -> None:
    add_acme(project)
    shutil.rmtree(project / "tests" / "golden" / "acme")
    ran = run(project, "tests/connectors/test_contract.py")
    assert ran.returncode == 1
    assert "a provider without golden cases is not finished" in ran.stdout


def test_a_word_without_a_golden_case_fails(project: Path) -> None:
    add_acme(project)
    (project / "tests" / "golden" / "acme" / "voided.json").unlink()
    ran = run(project, "tests/connectors/test_contract.py")
    assert ran.returncode == 1
    assert "test_every_status_word_appears_in_a_golden_case[acme]" in ran.stdout


def test_a_provider_that_does_io_fails(project: Path) -> None:
    add_acme(project)
    module = project / "connectors" / "acme" / "__init__.py"
    module.write_text(module.read_text() + "\nimport httpx\n")
    ran = run(project, "tests/test_imports.py")
    assert ran.returncode == 1
    assert "test_a_provider_does_no_io_and_knows_no_other[acme]" in ran.stdout
