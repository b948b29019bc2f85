"""One short seed of `make chaos`: nothing is lost, duplicated, wrong or hung."""

from pathlib import Path

import pytest

from tests.chaos.seed import run_seed

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.alone]


@pytest.mark.timeout(300)
def test_nothing_is_lost_or_duplicated_when_processes_are_killed(tmp_path: Path) -> None:
    result = run_seed(1, tmp_path / "seed-1", short=True, log=print)
    assert result.callbacks > 1000
    assert len(result.faults) >= 4
    assert min(result.webhooks, result.disturbed) > 10
    assert result.problems.found() == {}
