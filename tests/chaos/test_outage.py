"""An outage of the broker far beyond every session and time-out. Only `make chaos` runs it."""

from pathlib import Path

import pytest

from tests.chaos.schedule import BROKER, Fault, Schedule
from tests.chaos.seed import run_seed

_OUTAGE_SECONDS = 60.0


@pytest.mark.chaos
@pytest.mark.kafka
@pytest.mark.timeout(900)
def test_an_outage_of_a_minute_is_survived_without_help(tmp_path: Path) -> None:
    outage = Schedule(36.0, (Fault(8.0, "broker", BROKER, _OUTAGE_SECONDS),))
    result = run_seed(1, tmp_path / "chaos", say=print, given=outage)
    assert (result.lost, result.doubled, result.wrong_rows, result.hung) == ([], [], [], [])
    # Nobody had to be restarted.
    assert result.ended == []
