"""The filter for dead letters, as written on the command line, in a form or in a URL."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from connectors.triage.dead_letter import DeadLetter, Place, parse_place


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that a dead letter must meet; an empty one always holds. Times in microseconds,
    UTC: `since` inclusive, `until` exclusive. `reason` is a part of the reason, in any case.
    """

    places: Collection[Place] = ()
    reason: str = ""
    stage: str = ""
    provider: str = ""
    link_id: str = ""
    since: int | None = None
    until: int | None = None

    def matches(self, dead_letter: DeadLetter) -> bool:
        """Whether the dead letter meets every condition."""
        return (
            (not self.places or dead_letter.place in self.places)
            and self.reason.casefold() in dead_letter.reason.casefold()
            and self.stage in ("", dead_letter.header("stage"))
            and self.provider in ("", dead_letter.provider)
            and self.link_id in ("", dead_letter.link_id)
            and (self.since is None or dead_letter.at >= self.since)
            and (self.until is None or dead_letter.at < self.until)
        )


def parse_filter(parameters: Mapping[str, str], places: Iterable[str], now: int) -> Filter:
    """Build the filter from the parameters reason, stage, provider, link, since and until; a
    missing or empty one sets no condition. `now` in microseconds. Raises BadPlace, BadTime.
    """
    since, until = parameters.get("since"), parameters.get("until")
    return Filter(
        places=[parse_place(text) for text in places],
        reason=parameters.get("reason", ""),
        stage=parameters.get("stage", ""),
        provider=parameters.get("provider", ""),
        link_id=parameters.get("link", ""),
        since=parse_time(since, now) if since else None,
        until=parse_time(until, now) if until else None,
    )


_AGE = re.compile(r"([0-9]{1,6})\s*([smhd])")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MICROS = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


class BadTime(ValueError):
    """The text is not a time."""


def parse_time(text: str, now: int) -> int:
    """Parse an age such as `2h`, the beginning of a UTC day such as `2030-01-31`, or RFC 3339; in
    microseconds, UTC. Raises BadTime.
    """
    text = text.strip()
    if age := _AGE.fullmatch(text):
        return now - int(age[1]) * _MICROS[age[2]]
    try:
        time = datetime.fromisoformat(f"{text}T00:00Z" if _DAY.fullmatch(text) else text)
        micros = int(time.timestamp()) * 1_000_000 + time.microsecond
    except (OverflowError, ValueError):
        raise BadTime(
            f"{text} is not a time: write 2h, 3d, 2030-01-31 or 2030-01-31T09:00Z"
        ) from None
    if time.tzinfo is None:
        raise BadTime(f"{text} has no time zone: end it with Z, or +02:00")
    return micros
