"""Seeds of the simulation, in a process of their own: `python -m tests.simulation` repeats each."""

import os
import subprocess
import sys

import pytest

from tests.support.documents import ROOT

_SEEDS = 100


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_seeds_find_nothing() -> None:
    run = simulate("--seeds", str(_SEEDS), "--jobs", "1")
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.startswith(f"{_SEEDS} seeds in ")


@pytest.mark.slow
def test_seed_repeats_exactly() -> None:
    """All that happens at the cluster, in its order and to the microsecond."""
    digest = "from tests.simulation.seed import run_seed; print(run_seed(7).history)"
    command, environment = [sys.executable, "-c", digest], {**os.environ, "PYTHONHASHSEED": "0"}
    first, second = (
        subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout
        for _ in range(2)
    )
    assert first == second != b""


_SHRUNK = """
import logging

logging.disable(logging.CRITICAL)
registry = Fault(4.0, "registry", "w0", seconds=3.0)
others = [Fault(2.0, "compact"), Fault(3.0, "delete"), Fault(9.0, "compact")]
with mutated("go-on-after-a-failed-batch"):
    shortest = shrink(run_seed(1, [*others[:2], registry, others[2]]))
assert shortest.faults == [registry], shortest
assert shortest.problems.lost
"""


def test_failing_seed_is_shrunk_to_the_faults_that_matter() -> None:
    """With this fault in the engine, what a stage reads while its registry is away is lost. What
    killed processes leave open must not warn in other tests: it runs in a process of its own.
    """
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    subprocess.run([sys.executable, "-c", _SHRUNK], cwd=ROOT, env=environment, check=True)
