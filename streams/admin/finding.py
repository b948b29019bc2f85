"""The result of one check of the doctor."""

from typing import Literal, NamedTuple

State = Literal["ok", "note", "wrong"]


class Finding(NamedTuple):
    """The result of one check. A note is no fault; `settings` are the environment variables to
    change.
    """

    check: str
    state: State
    message: str
    settings: tuple[str, ...] = ()


def ok(check: str, message: str) -> Finding:
    return Finding(check, "ok", message)


def note(check: str, message: str, *settings: str) -> Finding:
    return Finding(check, "note", message, _variables(settings))


def wrong(check: str, message: str, *settings: str) -> Finding:
    return Finding(check, "wrong", message, _variables(settings))


def _variables(settings: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"LINKSTATUS_{name}" for name in settings)
