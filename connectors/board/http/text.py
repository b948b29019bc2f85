"""Numbers as people read them: money, ages, durations and counts."""

import time

from schemas.money import in_words
from schemas.records import LinkStatus

NONE = "—"
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def money(minor: int | None, currency: str | None) -> str:
    """Return `1234, "EUR"` as "12.34 EUR"; an em dash for an unknown amount."""
    return NONE if minor is None else in_words(minor, currency)


def amount(minor: int, currency: str | None) -> str:
    """Return `1234, "EUR"` as "12.34", for a place that names the currency."""
    return in_words(minor, currency).removesuffix(f" {currency}")


def link_amount(link: LinkStatus) -> str:
    """Return what was paid; before a payment, what the link was registered with."""
    registration = link["registration"]
    source = registration if registration and link["amount_minor"] is None else link
    return money(source["amount_minor"], source["currency"])


def age(micros: int, now: float | None = None) -> str:
    """Return how long ago a time was, in its largest unit."""
    seconds = int((time.time() if now is None else now) - micros / 1_000_000)
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "now"


def duration(seconds: float | None) -> str:
    """Return a duration in its largest unit; an em dash for an unknown one."""
    if seconds is None:
        return NONE
    return "under 1 s" if seconds < 1 else age(0, seconds)


def plural(number: int, one: str, more: str | None = None) -> str:
    """Return `1, "order"` as "1 order", `2` as "2 orders"."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"
