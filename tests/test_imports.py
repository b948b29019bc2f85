"""The import rules of the layout, and what the flat package names need."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import grimp
import pytest

from connectors.registry import PROVIDERS

ROOT = Path(__file__).parent.parent
PACKAGES = {"connectors", "schemas", "streams"}
# What does I/O; a provider imports none of it.
IO = {
    "aiokafka",
    "confluent_kafka",
    "faust",
    "httpx",
    "requests",
    "socket",
    "sqlalchemy",
    "starlette",
    "subprocess",
    "urllib3",
    "uvicorn",
}


@pytest.mark.style
def test_imports_point_one_way() -> None:
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    result = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*sorted(PACKAGES), include_external_packages=True)


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_provider_does_no_io_and_knows_no_other(name: str, graph: grimp.ImportGraph) -> None:
    """From the registry: import-linter needs literal names, and a new one is not among them."""
    folder = f"connectors.{name}"
    others = {f"connectors.{other}" for other in PROVIDERS if other != name}
    for module in {folder, *graph.find_descendants(folder)}:
        for imported in graph.find_modules_directly_imported_by(module):
            assert imported.split(".")[0] not in IO, (module, imported)
            assert ".".join(imported.split(".")[:2]) not in others, (module, imported)


def test_every_provider_s_folder_is_registered() -> None:
    folders = {file.parent.name for file in (ROOT / "connectors").glob("*/sandbox.py")}
    assert folders == set(PROVIDERS)


def test_the_domain_imports_only_the_schemas_and_the_standard_library(
    graph: grimp.ImportGraph,
) -> None:
    for module in {"streams.domain", *graph.find_descendants("streams.domain")}:
        for imported in graph.find_modules_directly_imported_by(module):
            inside = f"{imported}.".startswith(("schemas.", "streams.domain."))
            assert inside or imported.split(".")[0] in sys.stdlib_module_names, (module, imported)


def test_no_other_installed_distribution_owns_our_package_names() -> None:
    owners = metadata.packages_distributions()
    assert {
        name: owners.get(name, [])
        for name in PACKAGES
        if set(owners.get(name, [])) - {"linkstatus"}
    } == {}
