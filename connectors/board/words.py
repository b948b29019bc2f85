"""Figures as people read them: money, ages and spans."""

import time

from schemas.money import in_words
from schemas.records import LinkStatus

NONE = "—"
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def money(minor: int | None, currency: str | None) -> str:
    """`1234, "EUR"` as "12.34 EUR"; an em dash where it is unknown."""
    return NONE if minor is None else in_words(minor, currency)


def asked(link: LinkStatus) -> str:
    """What was paid; before that, what the link was registered with."""
    registered = link["registration"]
    known = registered if registered and link["amount_minor"] is None else link
    return money(known["amount_minor"], known["currency"])


def age(micros: int, now: float | None = None) -> str:
    """How long ago, in its largest unit."""
    seconds = int((time.time() if now is None else now) - micros / 1_000_000)
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "now"


def took(seconds: float | None) -> str:
    """A span of time in its largest unit; an em dash where it is unknown."""
    if seconds is None:
        return NONE
    return "under 1 s" if seconds < 1 else age(0, seconds)


def many(number: int, one: str, more: str | None = None) -> str:
    """`1, "order"` as "1 order", `2` as "2 orders"."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"
