"""A real PostgreSQL for one run, on a socket in a temporary folder.

The binaries are the installed ones, else those of Debian's package, unpacked.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from streams.local import subprocesses
from tests.support import debian
from tests.support.waiting import until_sync

_PACKAGE = "postgresql-15"
_USER = "linkstatus"
# Speed instead of durability.
_FAST = ["fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=32MB"]


class NoPostgres(Exception):
    """PostgreSQL is not available here; the message has the reason."""


class Postgres:
    """One server. PostgreSQL refuses to run as root; it then runs as a user without rights."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="linkstatus-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._as_user = _unprivileged(self._folder)

    def start(self) -> "Postgres":
        """Return once it answers. Raises NoPostgres."""
        programs = _programs(self._folder)
        self._run(
            [programs / "initdb", "-D", self._data, "-U", _USER, "-A", "trust", "-E", "UTF8"],
            "--no-locale",
            "--no-sync",
        )
        options = [f"unix_socket_directories={self._folder}", "listen_addresses=", *_FAST]
        self._process = self._spawn(
            [programs / "postgres", "-D", self._data, *(f"-c{option}" for option in options)]
        )
        until_sync(self._answers, f"PostgreSQL:\n{self._log_tail()}")
        return self

    def stop(self) -> None:
        """Stop it and remove its data."""
        if self._process:
            self._process.send_signal(2)  # SIGINT: do not wait for clients
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def database(self) -> str:
        """Create a database that sorts by language, as in production; return its name."""
        name = f"test_{uuid.uuid4().hex}"
        sorts = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
        with psycopg.connect(**self._where("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0 {sorts}'.encode())
        return name

    def url(self, database: str, user: str = _USER) -> str:
        """Its SQLAlchemy URL."""
        return f"postgresql+psycopg://{user}@/{database}?host={self._folder}"

    @property
    def socket(self) -> Path:
        return self._folder / ".s.PGSQL.5432"

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _where(self, database: str) -> dict[str, Any]:
        return {"host": str(self._folder), "dbname": database, "user": _USER}

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self._log_tail()
        try:
            psycopg.connect(**self._where("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _spawn(self, command: list[Any]) -> subprocess.Popen[bytes]:
        # An unpacked package has its libraries beside it.
        libraries = ":".join(map(str, self._folder.glob("package/usr/lib/*-linux-gnu")))
        environment = {**os.environ, **({"LD_LIBRARY_PATH": libraries} if libraries else {})}
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [str(part) for part in command],
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                # If the run is killed, the server ends, too.
                preexec_fn=subprocesses._die_with(os.getpid()),
                **self._as_user,
            )

    def _run(self, command: list[Any], *options: str) -> None:
        if self._spawn([*command, *options]).wait() != 0:
            raise NoPostgres(f"initdb failed: {self._log_tail()}")

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    def _log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""


def _unprivileged(folder: Path) -> Mapping[str, Any]:
    """Return arguments of Popen for a user that is not root and owns the folder."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise NoPostgres("it refuses root, and the user postgres does not exist")


def _programs(folder: Path) -> Path:
    """Return the folder of initdb and postgres."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if installed := shutil.which("postgres"):
        folders.append(Path(installed).resolve().parent)
    for programs in reversed(folders):
        if (programs / "initdb").exists():
            return programs
    debian.unpack(folder / "package", _PACKAGE, "libpq5")
    return next(folder.glob("package/usr/lib/postgresql/*/bin"))
