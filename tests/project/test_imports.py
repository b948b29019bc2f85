"""Import rules that import-linter cannot express, and the flat package names."""

import ast
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import grimp
import pytest

from connectors.providers.registry import PROVIDERS
from tests.support.documents import ROOT

PACKAGES = {"connectors", "schemas", "streams"}
# Packages that do I/O.
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


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*sorted(PACKAGES), include_external_packages=True)


@pytest.mark.parametrize("name", PROVIDERS)
def test_provider_imports_no_io_and_no_other_provider(name: str, graph: grimp.ImportGraph) -> None:
    """Cover every registered provider; import-linter only knows the names in pyproject.toml."""
    folder = f"connectors.providers.{name}"
    others = {f"connectors.providers.{other}" for other in PROVIDERS if other != name}
    for module in {folder, *graph.find_descendants(folder)}:
        for imported in graph.find_modules_directly_imported_by(module):
            assert imported.split(".")[0] not in IO, (module, imported)
            assert ".".join(imported.split(".")[:3]) not in others, (module, imported)


def test_every_provider_folder_is_registered() -> None:
    folders = {
        file.parent.name for file in (ROOT / "connectors" / "providers").glob("*/sandbox.py")
    }
    assert folders == set(PROVIDERS)


def test_domain_imports_only_schemas_and_standard_library(
    graph: grimp.ImportGraph,
) -> None:
    for module in {"streams.domain", *graph.find_descendants("streams.domain")}:
        for imported in graph.find_modules_directly_imported_by(module):
            inside = f"{imported}.".startswith(("schemas.", "streams.domain."))
            assert inside or imported.split(".")[0] in sys.stdlib_module_names, (module, imported)


def test_no_other_distribution_owns_our_package_names() -> None:
    owners = metadata.packages_distributions()
    assert {
        name: owners.get(name, [])
        for name in PACKAGES
        if set(owners.get(name, [])) - {"linkstatus"}
    } == {}


def imported_by(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_checker_shares_no_code_with_the_product() -> None:
    """It imports only the standard library; what reads a cluster also uses Kafka and Avro."""
    clients = {"record.py": {"confluent_kafka"}, "avro.py": {"fastavro"}}
    for file in (ROOT / "tests" / "checker").glob("*.py"):
        if not file.name.startswith("test_"):
            known = sys.stdlib_module_names | clients.get(file.name, set())
            for imported in imported_by(file):
                is_own = f"{imported}.".startswith("tests.checker.")
                assert is_own or imported.split(".")[0] in known, (file.name, imported)
