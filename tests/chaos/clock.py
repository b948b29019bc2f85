"""The wall clock of a process, which jumps: libfaketime fakes it for Python, librdkafka and SQLite.

The monotonic clock goes on, as it does when an operator or NTP sets the time.
"""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

_LIBRARY = files("libfaketime") / "vendor/libfaketime/src/libfaketime.so.1"


class JumpingClock:
    """`file` holds the offset from the real time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def environment(self) -> Mapping[str, str]:
        """Return the variables of a process with this clock."""
        return {
            "LD_PRELOAD": str(_LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            # The seconds until a process sees a new offset.
            "FAKETIME_CACHE_DURATION": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, seconds: float) -> None:
        """Set the clock to the real time and this offset."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+.0f}\n")
        new.replace(self._file)
