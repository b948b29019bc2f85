"""UTC days, and which times can be true: a producer that writes ms or ns where µs are due is found
out.
"""

from datetime import UTC, date, datetime, timedelta

DAY = 86_400_000_000
_EPOCH = date(1970, 1, 1)

# The beginnings of the years 2000 and 2200, in microseconds, UTC.
FIRST, END = 946_684_800_000_000, 7_258_118_400_000_000


def day_of(micros: int) -> date:
    """Return the UTC day of a time in microseconds."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).date()


def start_of(day: date) -> int:
    """Return the beginning of a UTC day, in microseconds."""
    return (day - _EPOCH) // timedelta(microseconds=1)


class BadTime(ValueError):
    """The number is no time in microseconds."""


def is_plausible(micros: int) -> bool:
    """Whether a time in microseconds is between the years 2000 and 2199."""
    return FIRST <= micros < END


def check(micros: int) -> None:
    """Raises BadTime."""
    if not is_plausible(micros):
        raise BadTime(f"{micros} is not a time in microseconds between the years 2000 and 2199")
