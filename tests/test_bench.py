"""The benchmark can be run: its second environment has what its engine imports of ours, and its job
is done by our handlers.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.bench import workload
from tests.bench.expected import expect

ROOT = Path(__file__).parents[1]
# What that engine runs of ours, and what comes with Quix Streams itself.
_JOB = "tests.bench.job"
_WITH_QUIX = {"confluent-kafka"}
_OURS = {"schemas", "connectors", "streams", "tests"}
_LOADED = f"""
import sys
import {_JOB}
for module in list(sys.modules.values()):
    print(getattr(module, "__file__", None) or "")
"""


def test_its_environment_has_what_its_job_imports() -> None:
    made = re.search(r"\.venv-bench/bin/python -m pip install .*\\\n\t+(.+)", _makefile())
    assert made
    there = {*made[1].split(), *_WITH_QUIX}
    known = {
        package: {name.lower().replace("_", "-") for name in names}
        for package, names in packages_distributions().items()
    }
    lacking = {name for name in _imported() & known.keys() if there.isdisjoint(known[name])}
    assert lacking <= _OURS


def test_its_job_is_done_and_not_dead_lettered() -> None:
    done = expect(workload.records(1_000))
    assert (len(done.rows), len(done.closes) > 100, len(done.settlements) > 100) == (
        200,
        True,
        True,
    )
    assert done.dead_letters < 20


def _makefile() -> str:
    return (ROOT / "Makefile").read_text()


def _imported() -> set[str]:
    """The packages that our modules import when the job is loaded."""
    told = subprocess.run(
        [sys.executable, "-c", _LOADED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    own = {Path(line) for line in told.stdout.splitlines() if line.startswith(str(ROOT))}
    return {name for file in own if "site-packages" not in file.parts for name in _names(file)}


def _names(file: Path) -> Iterator[str]:
    """Packages imported where the module is loaded: not within a function."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
