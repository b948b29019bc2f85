"""Tables and values for people: in colour on a terminal, else the same as plain text."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from connectors.board.http import text as board_text
from streams.cli.terminal import harmless, print_json, say

_ROWS_OF_TABLE = 500
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
    """Standard output; colours only on a terminal, and not with NO_COLOR."""
    return Console(highlight=False, emoji=False)


def print_rows(
    rows: Iterator[dict[str, Any]], draw: Callable[[list[dict[str, Any]]], Table], *, json: bool
) -> None:
    """Print rows as JSON, one object a line, or as tables, as they come: a long list takes no
    memory.
    """
    if json:
        for row in rows:
            print_json(row)
        return
    shown = 0
    while some := list(islice(rows, _ROWS_OF_TABLE)):
        console().print(draw(some))
        shown += len(some)
    if not shown:
        say("none")


def status_style(status: str) -> str:
    return _STYLES.get(status, "")


def grid(*headings: str) -> Table:
    """A table without lines, so that a selection holds the text alone."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def text(value: object, style: str = "") -> Text:
    """Text from outside, with control characters escaped."""
    return Text(harmless(str(value)), style)


def money(minor: int | None, currency: str | None) -> str:
    """`1234, "EUR"` as "12.34 EUR"; empty where the amount is unknown."""
    return "" if minor is None else board_text.money(minor, currency)


def bare_money(minor: int | None, currency: str) -> str:
    """`1234, "EUR"` as "12.34", for a table of one currency; empty where the amount is unknown."""
    return money(minor, currency).removesuffix(f" {currency}")


def amount(link: dict[str, Any]) -> str:
    """The paid amount; before the payment, the registered one."""
    known = link if link["amount_minor"] is not None else link["registration"] or {}
    return money(known.get("amount_minor"), known.get("currency"))


def time(value: Any) -> datetime | None:
    """The time in the board's RFC 3339 text; None if there is none."""
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (TypeError, ValueError):
        return None


def duration(span: timedelta) -> str:
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


def age(value: Any, now: datetime) -> str:
    """The time since the board's RFC 3339 text: `7s`, `12m`, `3h`, `12d`."""
    if (at := time(value)) is None:
        return ""
    span = now - at
    return duration(span).split()[0] if span >= timedelta(minutes=1) else f"{span.seconds}s"
