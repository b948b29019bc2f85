"""A moment as people write it: how long ago, or a time."""

import re
from datetime import datetime

_AGO = re.compile(r"([0-9]{1,6})\s*([smhd])")
_MICROS = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


class BadMoment(ValueError):
    """The text names no moment."""


def moment(text: str, now: int) -> int:
    """`2h`, or RFC 3339, in microseconds, UTC. Raises BadMoment."""
    if ago := _AGO.fullmatch(text.strip()):
        return now - int(ago[1]) * _MICROS[ago[2]]
    try:
        time = datetime.fromisoformat(text.strip())
        if time.tzinfo is None:
            raise BadMoment(f"{text} does not say its time zone: end it with Z, or +02:00")
        return int(time.timestamp()) * 1_000_000 + time.microsecond
    except (OverflowError, ValueError) as error:
        if isinstance(error, BadMoment):
            raise
        raise BadMoment(f"{text} is no moment: 30m, 2h, 3d, or such as 2030-01-31T09:00Z") from None
