"""The wall clock of a process, which jumps. The monotonic clock goes on, as it does when NTP sets
the time.

`jumping/sitecustomize.py` fakes it. libfaketime is no way: librdkafka waits until a time of the
wall clock, and a jump that only one of its calls sees makes it wait as long as the jump.
"""

from collections.abc import Mapping
from pathlib import Path

from tests.support.documents import ROOT


class JumpingClock:
    """`file` holds the offset from the real time, in seconds."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def environment(self) -> Mapping[str, str]:
        """Return the variables of a process with this clock."""
        return {
            "PYTHONPATH": f"{Path(__file__).parent / 'jumping'}:{ROOT}",
            "CHAOS_CLOCK": str(self._file),
        }

    def set(self, seconds: float) -> None:
        """Set the clock to the real time and this offset."""
        new = self._file.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self._file)
