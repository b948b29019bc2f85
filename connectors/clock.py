"""The one clock of the edges; rules are told the time."""

import time


def micros_now() -> int:
    """Wall-clock time in microseconds, UTC."""
    return time.time_ns() // 1000
