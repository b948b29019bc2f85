"""Python imports this at its start, in processes whose clock jumps: it fakes the wall clock.

It fakes `time.time` and `time.time_ns`, from which the product and aiokafka take the time. C code
sees the real time.
"""

import os
import time
from pathlib import Path

_FILE = Path(os.environ["CHAOS_CLOCK"])
_CHECK_SECONDS = 0.1
_NANOSECONDS = 1_000_000_000
_real_time_ns = time.time_ns


class _Offset:
    """The offset in the file, in nanoseconds."""

    def __init__(self) -> None:
        self._read_at = float("-inf")
        self._value = 0

    def get(self) -> int:
        now = time.monotonic()
        if now - self._read_at > _CHECK_SECONDS:
            self._read_at = now
            self._value = int(float(_FILE.read_text()) * _NANOSECONDS)
        return self._value


_offset = _Offset()


def _time_ns() -> int:
    return _real_time_ns() + _offset.get()


def _time() -> float:
    return _time_ns() / _NANOSECONDS


setattr(time, "time_ns", _time_ns)  # noqa: B010
setattr(time, "time", _time)  # noqa: B010
