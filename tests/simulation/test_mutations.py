"""The simulation finds faults that are put into the engine."""

import subprocess
import sys

import pytest

from tests.simulation.known import FOUND_BY
from tests.simulation.mutations import MUTATIONS
from tests.support.documents import ROOT, rows, section


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("mutation", FOUND_BY)
def test_known_schedule_finds_the_mutation(mutation: str) -> None:
    options = ["--mutation", mutation, "--known", "--seeds", "1", "--jobs", "1"]
    command = [sys.executable, "-m", "tests.simulation", *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seed, _ = FOUND_BY[mutation]
    assert run.stdout.startswith(f"seed {seed} fails"), run.stdout + run.stderr


@pytest.mark.long
@pytest.mark.slow
def test_same_schedules_find_nothing_in_the_engine_as_it_is() -> None:
    schedules = list(FOUND_BY.values())
    program = f"""
from tests.simulation.faults import Fault
from tests.simulation.seed import run_seed
for seed, faults in {schedules!r}:
    problems = run_seed(seed, faults).problems
    assert not problems.found(), (faults, problems)
"""
    environment = {"PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=250)


def test_page_names_every_mutation_with_its_schedule() -> None:
    table = rows(section("docs/simulation.md", "## What it finds"))[1:]
    known = {
        name: [str(seed), "; ".join(map(str, faults)) or "no fault"]
        for name, (seed, faults) in FOUND_BY.items()
    }
    assert {name: rest for name, *rest in table} == {
        name: known.get(name, ["-", "not found"]) for name in MUTATIONS
    }
