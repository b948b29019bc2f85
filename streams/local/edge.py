"""`linkstatus receive --processes`: the edge in several processes behind one port."""

import contextlib
import fcntl
import itertools
import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from connectors.http.server import listen
from connectors.receive.member import Member, Memory
from schemas.limits import EARLY_ENDS
from streams import wiring
from streams.local.signals import until_signal
from streams.local.subprocesses import PRIVATE
from streams.local.supervisor import STOP_SECONDS, TEND_SECONDS, Child, Supervisor
from streams.settings import Settings

log = logging.getLogger(__name__)

_LOCK = "lock"
# The exit code of a process whose settings are wrong: its restart cannot help.
_USAGE = 2


class KeepsEnding(Exception):
    """A process of the edge ends again and again. `code` is its last exit code."""

    def __init__(self, child: Child) -> None:
        often = f"{child.failures} times in a row, at last " if child.failures > 1 else ""
        super().__init__(f"{child.name} ended {often}with {child.code}; its lines above say why")
        self.code = child.code


def run(settings: Settings, processes: int) -> None:
    """Run the edge in so many processes until a signal, or until one of them keeps ending. Raises
    Refused, CannotListen, KeepsEnding.
    """
    wiring.start_log(settings)
    wiring.check_access(settings)
    os.umask(PRIVATE)
    with (
        _own_folder(settings.data_dir.resolve() / "receive") as folder,
        tempfile.TemporaryFile(dir=folder) as file,
    ):
        memory = Memory.create(file.fileno(), processes)
        sockets = listen(settings.address())
        descriptors = tuple(one.fileno() for one in sockets)
        children = [
            _child(Member(str(folder), number, processes, descriptors, file.fileno()), settings)
            for number in range(1, processes + 1)
        ]
        supervise(children, memory, sockets)


def supervise(children: Sequence[Child], memory: Memory, sockets: Sequence[socket.socket]) -> None:
    """Keep the children running until a signal, then close the sockets and stop the children.
    Raises KeepsEnding.
    """
    supervisor = Supervisor(children, log.warning)
    try:
        with until_signal():
            while True:
                supervisor.tend()
                for number, child in enumerate(children, 1):
                    if not child.runs():
                        memory.remove(number)
                    if child.failures >= EARLY_ENDS or child.code == _USAGE:
                        raise KeepsEnding(child)
                time.sleep(TEND_SECONDS)
    finally:
        # The children close theirs at once, too: a client is then refused, and does not wait.
        for one in sockets:
            one.close()
        if killed := supervisor.stop(STOP_SECONDS):
            log.warning("%s had to be killed", ", ".join(killed))


def _child(member: Member, settings: Settings) -> Child:
    argv = [sys.executable, "-m", "streams.cli", "receive", "--member", member.text()]
    environment = {
        "PROMETHEUS_MULTIPROC_DIR": member.folder,
        "LINKSTATUS_HTTP__PORT": str(settings.http.port),
    }
    files = (*member.sockets, member.memory)
    name = f"receive {member.number}"
    return Child(name, argv, environment, settings.address(), files=files)


@contextlib.contextmanager
def _own_folder(parent: Path) -> Iterator[Path]:
    """An empty folder that no other edge uses: the first one below `parent` that is not locked. The
    lock ends with this process.
    """
    for slot in itertools.count():
        folder = parent / str(slot)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            for file in folder.iterdir():
                if file.name != _LOCK:
                    file.unlink()
            yield folder
            return
