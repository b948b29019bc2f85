"""`make lint` runs everywhere the same, and files stay short."""

import re

import yaml

from tests.support.documents import ROOT

LONGEST_FILE = 350


def test_pre_commit_runs_what_make_lint_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    recipe = re.search(r"^lint:.*\n((?:\t.+\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    assert [line.strip() for line in recipe[1].splitlines()] == hooks


def test_ci_workflow_runs_lint_and_tests() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    commands = [[step["run"] for step in job["steps"] if "run" in step] for job in jobs.values()]
    assert commands == [[".ci/run"], ["make test-long"]]
    assert "make --jobs 2 lint test" in (ROOT / ".ci/run").read_text().splitlines()


def test_no_source_file_is_longer_than_350_lines() -> None:
    sources = [
        f for part in ("schemas", "connectors", "streams") for f in (ROOT / part).rglob("*.py")
    ]
    sizes = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in sources}
    assert {name: size for name, size in sizes.items() if size > LONGEST_FILE} == {}
