"""The clock of the edges; rules get the time as an argument."""

import time

# The end of the year 9999, in milliseconds: later times fit neither a date nor a column.
_LAST_MS = 253_402_300_799_999


def micros_now() -> int:
    """Return the wall-clock time in microseconds, UTC."""
    return time.time_ns() // 1000


def micros_of(milliseconds: int) -> int:
    """Return a record's timestamp in microseconds, UTC, between the years 1970 and 9999."""
    return min(max(milliseconds, 0), _LAST_MS) * 1000
