"""Child processes that the terminal cannot interrupt and that never outlive us."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from random import SystemRandom

_PR_SET_PDEATHSIG = 1
# Below the range from which Linux takes ports for outgoing connections and for whoever asks for any
# port: there, another could be given the port of a process that is yet to start, or is down for a
# moment, and a client that tries to reach it could even connect to itself.
_PORTS = range(20_000, 32_768)
# Nobody may listen there yet.
_given: set[int] = set()


def _die_with(parent: int) -> Callable[[], None] | None:
    """Runs in the child before exec: the kernel kills it once the thread that started it ends.

    Without it a `kill -9` of the parent would leave a broker and workers behind. Only Linux has it;
    elsewhere children end with an orderly parent only.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before the kernel was asked
            os.kill(os.getpid(), signal.SIGKILL)

    return ask_kernel


def spawn(
    argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Starts `argv` in its own session with its output appended to `log`; `env` adds to ours.

    A session of its own keeps the terminal's Ctrl-C from it, so that the parent can end children in
    order. Call it from a thread that lives as long as the child should: the main thread.
    """
    with log.open("ab") as out:
        return subprocess.Popen(  # noqa: S603 (argv is ours)
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),
        )


def stop(process: subprocess.Popen[bytes], timeout: float) -> int:
    """SIGTERM, and SIGKILL after `timeout` seconds; returns the exit code."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def free_port(preferred: int = 0) -> int:
    """A TCP port on the loopback interface that nobody listens on, and that this process was not
    given before; `preferred` if it is free.
    """
    if preferred and _is_free(preferred):
        return preferred
    first = SystemRandom().randrange(len(_PORTS))
    for port in chain(_PORTS[first:], _PORTS[:first]):
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise OSError(f"no free port between {_PORTS[0]} and {_PORTS[-1]}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As those do that will listen there: what is left of an old connection is in nobody's way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def tail(file: Path, lines: int = 20) -> str:
    """The last lines of a log; empty when there is none."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - 65_536))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
