"""connectors/providers/README.md: a new provider is one folder, one golden folder and one line.

Every suite then tests the invented provider Acme.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "tests" / "example_provider"
CONTRACT = "tests/connectors/providers/test_contract.py"
IMPORTS = "tests/project/test_imports.py"
BATCHES = "tests/example_provider/test_acme_batches.py"
SUITES = [
    CONTRACT,
    IMPORTS,
    "tests/connectors/providers/test_golden.py",
    "tests/connectors/providers/test_authenticity.py",
    "tests/connectors/sandbox/test_lifecycles.py",
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the project with the provider Acme."""
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for part in ("connectors", "docs", "schemas", "streams", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=ignored)
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    providers = tmp_path / "connectors" / "providers"
    shutil.copytree(EXAMPLE / "acme", providers / "acme")
    shutil.copytree(EXAMPLE / "golden", tmp_path / "tests" / "golden" / "acme")
    text = (providers / "registry.py").read_text()
    for line, new_line in (
        ("from connectors.providers.base", "from connectors.providers.acme import Acme\n"),
        ('    "ipint": IPint,\n', '    "acme": Acme,\n'),
    ):
        assert line in text
        text = text.replace(line, new_line + line)
    (providers / "registry.py").write_text(text)
    return tmp_path


def run(project: Path, *suites: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "acme", *suites],
        cwd=project,
        env={**os.environ, "HYPOTHESIS_PROFILE": "quick", **environment},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_every_suite_tests_a_new_provider(project: Path) -> None:
    result = run(project, *SUITES)
    assert result.returncode == 0, result.stdout
    for suite in SUITES:
        assert f"{suite} ." in result.stdout, suite
    settings = (
        "import os; os.environ['LINKSTATUS_ACME__API_KEY'] = 'k'\n"
        "from streams.settings import load\nfrom streams.wiring import topics\n"
        "assert load().existing_providers()['acme'].can_look_up()\n"
        "assert 'callbacks.acme' in {topic.name for topic in topics(load())}"
    )
    subprocess.run([sys.executable, "-c", settings], cwd=project, check=True, timeout=60)


@pytest.mark.long
@pytest.mark.kafka
def test_whole_system_takes_bodies_with_many_events(project: Path, brokers: str) -> None:
    result = run(project, BATCHES, LINKSTATUS_BROKERS=brokers)
    assert result.returncode == 0, result.stdout
    assert " 2 passed" in result.stdout


def test_provider_without_golden_cases_fails(project: Path) -> None:
    shutil.rmtree(project / "tests" / "golden" / "acme")
    result = run(project, CONTRACT)
    assert result.returncode == 1
    assert "a provider without golden cases is not finished" in result.stdout


def test_status_without_a_golden_case_fails(project: Path) -> None:
    (project / "tests" / "golden" / "acme" / "lapsed.json").unlink()
    result = run(project, CONTRACT)
    assert result.returncode == 1
    assert "test_golden_cases_cover_every_status[acme]" in result.stdout


def test_provider_that_does_io_fails(project: Path) -> None:
    module = project / "connectors" / "providers" / "acme" / "__init__.py"
    module.write_text(module.read_text() + "\nimport httpx\n")
    result = run(project, IMPORTS)
    assert result.returncode == 1
    assert "[acme]" in result.stdout
