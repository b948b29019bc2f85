"""Mark anomalies and dead letters: what `resolve` and `reopen` do for both."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import typer

from connectors.board.http.text import plural
from streams.cli.errors import Failed
from streams.cli.terminal import print_json, say

# The state that things must have for the action, and the one they get.
_STATES = {"resolve": ("open", "resolved"), "reopen": ("resolved", "reopened")}


@dataclass(frozen=True, slots=True)
class Selection:
    """The `count` things that can be marked, out of `named` ids or, if that is 0, out of a filter.
    `mark` publishes the marks and returns their number; `lines` describe the things for people,
    `details` for programs.
    """

    noun: tuple[str, str]
    count: int
    named: int
    mark: Callable[[], int]
    lines: Iterable[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


def mark(action: str, selection: Selection, *, dry_run: bool, yes: bool, json: bool) -> None:
    """Show how many things the action changes, ask for confirmation unless each is named, mark
    them. Raises Failed when a named one does not have the right state.
    """
    before, after = _STATES[action]
    count, marked = selection.count, 0
    say(plural(count, *(f"{before} {noun}" for noun in selection.noun)), *selection.lines)
    if count and not dry_run:
        confirm(f"{action} {count}?", yes=yes or selection.named > 0)
        marked = selection.mark()
        say(f"{marked} {after}")
    if json:
        print_json({"count": count, "marked": marked, **selection.details})
    require_all(selection.named, count, before)


def require_all(named: int, count: int, state: str) -> None:
    """Raise Failed if some of the named things do not have the right state."""
    if count < named:
        raise Failed(f"{named - count} of these are not {state}")


def confirm(question: str, *, yes: bool) -> None:
    """Ask the user on stderr and end the command unless the answer is yes."""
    if not yes:
        typer.confirm(question, abort=True, err=True)
