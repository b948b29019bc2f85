"""What is drawn for people: on a terminal in colour, else the same as plain text."""

from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from connectors.board import words
from streams.cli.terminal import harmless

_STYLES = {
    "PAID": "bold green",
    "CREATED": "cyan",
    "OPENED": "cyan",
    "PROCESSING": "bold cyan",
    "EXPIRED": "yellow",
    "CANCELLED": "yellow",
    "FAILED": "bold red",
    "UNKNOWN": "dim",
}


def console() -> Console:
    """Standard output. Colours only on a terminal, and not with NO_COLOR."""
    return Console(highlight=False, emoji=False)


def status_style(status: str) -> str:
    return _STYLES.get(status, "")


def grid(*headings: str) -> Table:
    """A table without lines: what is copied from it is what it says."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def text(value: object, style: str = "") -> Text:
    """Anything from outside: it cannot command the terminal."""
    return Text(harmless(str(value)), style)


def money(minor: int | None, currency: str | None) -> str:
    """As on the page, but nothing where the amount is not known."""
    return "" if minor is None else words.money(minor, currency)


def asked(link: dict[str, Any]) -> str:
    """What was paid, else what it was registered with."""
    known = link if link["amount_minor"] is not None else link["registration"] or {}
    return money(known.get("amount_minor"), known.get("currency"))


def moment(value: Any) -> datetime | None:
    """The time that an RFC 3339 text of the board names."""
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (TypeError, ValueError):
        return None


def lasted(span: timedelta) -> str:
    """`0.824s`, `12m 05s`, `3h 12m`, `12d 03h`."""
    seconds = span.total_seconds()
    if seconds < 60:
        return f"{seconds:.3f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minutes:02}m"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours:02}h"


def roughly(span: timedelta) -> str:
    """`7s`, `12m`, `3h`, `12d`."""
    return lasted(span).split()[0] if span >= timedelta(minutes=1) else f"{span.seconds}s"
