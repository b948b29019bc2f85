"""What the commands share: remarks, and JSON for people and programs."""

import base64
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def say(text: str) -> None:
    """Progress and remarks: on stderr, so that stdout stays clean for a pipe."""
    print(text, file=sys.stderr, flush=True)


def is_terminal() -> bool:
    """Whether a person looks at standard output."""
    return sys.stdout.isatty()


def readable(data: bytes | None) -> str | None:
    """Bytes as text, or as base64 with that prefix where they are none."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(data).decode()}"


def harmless(text: str) -> str:
    """The text without what would command a terminal: anyone can put anything into a callback."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def as_json(value: Any) -> str:
    """One line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def somebody() -> str:
    """Who asks, where nobody says."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr; call it with how many more are done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda more: bar.advance(task, more)
        # Offsets may have gaps: what is done is all there was.
        bar.update(task, completed=total)
