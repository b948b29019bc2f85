"""Print for people and programs: remarks on stderr, JSON on stdout, a progress bar."""

import base64
import getpass
import json
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def say(*lines: str) -> None:
    """Print remarks to stderr, so that stdout stays clean for a pipe."""
    print(*map(harmless, lines), sep="\n", file=sys.stderr, flush=True)


def readable(data: bytes | None) -> str | None:
    """Bytes as text, or as `base64:…` where they are not UTF-8."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(data).decode()}"


def readable_headers(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str | None]:
    """Return headers as text, their secrets masked."""
    from connectors.masking import masked_headers

    texts = {name: readable(value) for name, value in headers}
    return texts | masked_headers((n, text) for n, text in texts.items() if text is not None)


def readable_body(body: bytes | None, headers: Mapping[str, str | None]) -> str | None:
    """Return the content of a body with these headers as text, its secrets masked."""
    from connectors.masking import masked_body
    from connectors.providers import content

    shown = content.shown(body, headers)
    return readable(None if shown is None else masked_body(shown))


def harmless(text: str) -> str:
    """The text with control characters escaped: a callback can hold commands for a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def as_json(value: Any) -> str:
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def print_json(value: Any) -> None:
    """Print a value as JSON on one line of stdout."""
    print(as_json(value), flush=True)


def output(json: bool, value: Any, *lines: str) -> None:
    """Print a value for programs as JSON, or its lines for people."""
    if json:
        print_json(value)
    else:
        print(*map(harmless, lines), sep="\n", flush=True)


def user() -> str:
    """USER@HOST."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        name = "unknown"
    return f"{name}@{socket.gethostname()}"


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, if that is a terminal; call the function with how many more are
    done.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = *Progress.get_default_columns(), MofNCompleteColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=total)
        yield lambda more: bar.advance(task, more)
        # Offsets have gaps, so the count may stay below the total.
        bar.update(task, completed=total or 0)
