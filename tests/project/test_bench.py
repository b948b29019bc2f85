"""The benchmark runs: its second environment has what its job imports, and the job succeeds. The
parts that run our processes do so in small, before each `make bench`.
"""

import ast
import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from streams import settings, worker
from tests.bench import board, job, latency, standstill, ticks, workload
from tests.bench.drive import PARTITIONS, Passed
from tests.bench.expected import expect
from tests.support.documents import ROOT
from tests.support.processes import run

OURS = {"schemas", "connectors", "streams", "tests"}
# Quix Streams itself installs this.
WITH_QUIX = {"confluent-kafka"}
JOB = "tests.bench.job"
LIST_MODULES = f"""
import sys
import {JOB}
for module in list(sys.modules.values()):
    print(getattr(module, "__file__", None) or "")
"""


def test_environment_contains_the_imports_of_the_job() -> None:
    makefile = (ROOT / "Makefile").read_text()
    install = re.search(r"\.venv-bench/bin/python -m pip install .*\\\n\t+(.+)", makefile)
    assert install
    installed = {*install[1].split(), *WITH_QUIX}
    distributions = {
        package: {name.lower().replace("_", "-") for name in names}
        for package, names in packages_distributions().items()
    }
    imports = imports_of_the_job() & distributions.keys()
    assert {name for name in imports if installed.isdisjoint(distributions[name])} <= OURS


def test_job_succeeds_with_few_dead_letters() -> None:
    expected = expect(workload.records(1_000))
    assert len(expected.rows) == 200
    assert len(expected.closes) > 100
    assert len(expected.settlements) > 100
    assert expected.dead_letters < 20


def test_job_has_the_rules_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in job.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    loaded = settings.load()
    assert job.rules() == worker.rules(loaded, loaded.existing_providers())


def test_standstill_is_the_longest_time_without_a_row_while_a_callback_waits() -> None:
    passed = [
        Passed(0, sent=0.0, seen=1.0),
        Passed(1, sent=2.0, seen=2.5),
        Passed(0, sent=3.0, seen=3.5),
        Passed(0, sent=3.1, seen=5.0),
        Passed(1, sent=5.5, seen=7.5),
        Passed(0, sent=5.9, seen=19.0),
    ]
    nothing = [0.0] * (PARTITIONS - 2)
    assert standstill.standstill(passed, 2.0, 6.0) == [1.5, 0.5, *nothing]
    assert standstill.standstill(passed, 6.0, 19.0) == [13.1, 2.0, *nothing]


@pytest.mark.kafka
@pytest.mark.bench
def test_parts_with_our_processes_run_in_small(brokers: str, tmp_path: Path) -> None:
    curve = latency.measure(brokers, os.getpid(), tmp_path, (20, 40), 1.0, 1.0, print)
    assert [0 < curve[rate]["p50"] <= curve[rate]["max"] for rate in ("20", "40")] == [True, True]
    costs = ticks.measure(brokers, tmp_path, (300,), 2.0, 1.0, print)
    assert costs["300"]["lookups_per_hour"] > 0
    pages = board.measure(brokers, tmp_path, (300,), 2, print)
    assert all(figure > 0 for figures in pages.values() for figure in figures.values())
    stands = standstill.measure(brokers, tmp_path, rounds=1, settle_seconds=1.0)
    assert stands["killed"]["longest_s"] > 2 * stands["undisturbed"]["longest_s"] > 0


def imports_of_the_job() -> set[str]:
    """Return the packages that our modules import when the job is loaded."""
    output = run(sys.executable, "-c", LIST_MODULES).stdout
    files = {Path(line) for line in output.splitlines() if line.startswith(str(ROOT))}
    ours = (file for file in files if "site-packages" not in file.parts)
    return {name for file in ours for name in top_level_imports(file)}


def top_level_imports(file: Path) -> Iterator[str]:
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
