"""The import rules of the layout, and what the flat package names need."""

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import grimp
import pytest

from connectors.registry import PROVIDERS

ROOT = Path(__file__).parent.parent
PACKAGES = {"connectors", "schemas", "streams"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.style
def test_imports_point_one_way() -> None:
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    result = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_import_rules_cover_every_provider() -> None:
    """import-linter needs literal names; a new provider must not slip past the rules."""
    folders = {f"connectors.{name}" for name in PROVIDERS}
    contracts = {c["name"]: c for c in PROJECT["tool"]["importlinter"]["contracts"]}
    assert set(contracts["Providers do no I/O"]["source_modules"]) == folders
    assert set(contracts["Providers do not know each other"]["modules"]) == folders


def test_the_domain_imports_only_the_schemas_and_the_standard_library() -> None:
    graph = grimp.build_graph(*sorted(PACKAGES), include_external_packages=True)
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
