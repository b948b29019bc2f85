"""An outage of the broker far longer than every session and time-out. Only `make chaos` runs it."""

from pathlib import Path

import pytest

from tests.chaos.schedule import BROKER, Fault, Schedule
from tests.chaos.seed import run_seed

_OUTAGE_SECONDS = 60.0


@pytest.mark.chaos
@pytest.mark.kafka
@pytest.mark.timeout(900)
def test_system_survives_an_outage_of_a_minute_without_restarts(tmp_path: Path) -> None:
    outage = Schedule(36.0, (Fault(8.0, "broker", f"{BROKER}0", _OUTAGE_SECONDS),))
    result = run_seed(1, tmp_path / "chaos", log=print, faults=outage)
    assert result.problems.found() == {}
    assert result.exits == []
