"""The data folder of `linkstatus up`: whose it is, and how other commands find what runs there."""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from streams.settings import Settings, load

_LOCK = "up.lock"
_NOTE = "up.json"
_TOKEN = "board-token"  # noqa: S105 (the name of a file)


class AlreadyRunning(Exception):
    """Another `linkstatus up` has the data folder."""


@contextlib.contextmanager
def holding(data_dir: Path) -> Iterator[None]:
    """The data folder is ours until the end of the block. Raises AlreadyRunning."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"`linkstatus up` runs already on {data_dir}; end it, or choose another folder "
                "with --data-dir (and another --port)"
            ) from None
        try:
            yield
        finally:
            (data_dir / _NOTE).unlink(missing_ok=True)


def write_secret(file: Path, text: str) -> None:
    """Writes a file that only its owner may read, whole or not at all."""
    draft = file.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    draft.replace(file)


def note(data_dir: Path, environment: Mapping[str, str]) -> None:
    """Leaves word of what runs, for commands in other terminals; it holds secrets."""
    write_secret(
        data_dir / _NOTE, json.dumps({"pid": os.getpid(), "environment": dict(environment)})
    )


def board_token(data_dir: Path) -> str:
    """The board's token, made at the first start and kept."""
    file = data_dir / _TOKEN
    if not file.exists():
        write_secret(file, secrets.token_urlsafe(24))
    return file.read_text().strip()


def settings() -> Settings:
    """The settings, completed by those of the `up` that runs on the data folder; what is set wins.

    So `linkstatus tail` in a second terminal needs no setting at all.
    """
    for name, value in _noted(load().data_dir).items():
        os.environ.setdefault(name, value)
    return load()


def _noted(data_dir: Path) -> dict[str, str]:
    try:
        word = json.loads((data_dir / _NOTE).read_text())
        os.kill(word["pid"], 0)  # a killed `up` leaves its note
    except (OSError, ValueError):
        return {}
    environment: dict[str, str] = word["environment"]
    return environment
