"""What a look at one thing finds."""

from typing import Literal, NamedTuple

State = Literal["ok", "note", "wrong"]


class Finding(NamedTuple):
    """One thing looked at. A note is worth knowing, but no fault; `settings` are those to change,
    as they are written in the environment.
    """

    check: str
    state: State
    said: str
    settings: tuple[str, ...] = ()


def ok(check: str, said: str) -> Finding:
    return Finding(check, "ok", said)


def note(check: str, said: str, *settings: str) -> Finding:
    return Finding(check, "note", said, _whole(settings))


def wrong(check: str, said: str, *settings: str) -> Finding:
    return Finding(check, "wrong", said, _whole(settings))


def _whole(settings: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"LINKSTATUS_{name}" for name in settings)
