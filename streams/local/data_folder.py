"""The data folder of `linkstatus up`: its lock, its secrets, and the note on what runs."""

import contextlib
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from streams.admin import disk

if TYPE_CHECKING:
    from streams.settings import Settings

_LOCK = "up.lock"
_NOTE = "up.json"
_TOKEN = "board-token"  # noqa: S105 (the name of a file)


class AlreadyRunning(Exception):
    """Another `linkstatus up` uses the data folder."""


class NotUsable(Exception):
    """The data folder cannot take data."""


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the data folder until the end of the block. Raises AlreadyRunning, NotUsable."""
    if reason := disk.problem(data_dir):
        raise NotUsable(f"{reason}; or choose another folder with --data-dir")
    data_dir.mkdir(parents=True, exist_ok=True)
    status = data_dir.stat()
    # Only its owner may enter the folder, unless it is another's or shared, such as /tmp.
    if status.st_uid == os.getuid() and not status.st_mode & stat.S_ISVTX:
        data_dir.chmod(0o700)
    with (data_dir / _LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise AlreadyRunning(
                f"`linkstatus up` is already running here (pid {lock.read().strip()}), with the "
                f"data in {data_dir}; stop it, or choose another folder with --data-dir (and "
                "another --port)"
            ) from None
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
        try:
            yield
        finally:
            (data_dir / _NOTE).unlink(missing_ok=True)


def write_secret(file: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = file.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    draft.replace(file)


def write_note(data_dir: Path, environment: Mapping[str, str]) -> None:
    """Note what runs, for commands in other terminals; the note holds secrets."""
    note = {"pid": os.getpid(), "environment": environment}
    write_secret(data_dir / _NOTE, json.dumps(note))


def board_token(data_dir: Path) -> str:
    """The board's token; the first call creates it."""
    file = data_dir / _TOKEN
    if not file.exists():
        write_secret(file, secrets.token_urlsafe(24))
    return file.read_text().strip()


def settings() -> "Settings":
    """The settings, completed by the note of the `up` that runs on the data folder; the environment
    takes precedence. So `linkstatus tail` in a second terminal needs no setting. Raises
    BadSettings.
    """
    from streams.settings import load  # pydantic would slow down every `--help`

    settings = load()
    try:
        note = json.loads((settings.data_dir / _NOTE).read_text())
        os.kill(note["pid"], 0)  # a killed `up` leaves its note
    except (OSError, ValueError):
        return settings
    return load(note["environment"])
