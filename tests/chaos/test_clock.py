"""The wall clock of a process jumps while it runs, and its monotonic clock does not."""

import sys
import time
from functools import partial
from pathlib import Path

from streams.local import subprocesses
from tests.chaos.clock import JumpingClock
from tests.support.waiting import until_sync

_PROGRAM = """
import time
while True:
    print(time.time(), time.monotonic(), flush=True)
    time.sleep(0.1)
"""


def test_wall_clock_jumps_and_the_monotonic_clock_does_not(tmp_path: Path) -> None:
    clock, log = JumpingClock(tmp_path / "clock"), tmp_path / "log"

    def offsets() -> tuple[int, int]:
        """Return the last differences from our clocks, in seconds."""
        wall, monotonic = log.read_text().rpartition("\n")[0].splitlines()[-1].split()
        return round(float(wall) - time.time()), round(float(monotonic) - time.monotonic())

    def is_off_by(seconds: int) -> bool:
        return abs(offsets()[0] - seconds) <= 1

    argv = [sys.executable, "-c", _PROGRAM]
    program = subprocesses.spawn(argv, log, clock.environment())
    try:
        until_sync(lambda: "\n" in log.read_text(), "the first line")
        for seconds in (0, 3000, -3000, 0):
            clock.set(seconds)
            until_sync(partial(is_off_by, seconds), f"a jump to {seconds:+} s")
            assert offsets()[1] in (-1, 0)
    finally:
        program.kill()
        program.wait()
