"""Child processes: Ctrl-C does not reach them, and they never outlive this process."""

import contextlib
import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import SystemRandom

_PR_SET_PDEATHSIG = 1
# The umask of every process of ours: its files contain card tokens and secrets.
PRIVATE = 0o077
# Below the range from which Linux takes ports for outgoing connections and for "any port": from
# there, another program could get the port of a process that starts later or restarts, and a client
# that connects to that port could even connect to itself.
PORTS = range(20_000, 32_768)


def _die_with(parent: int) -> Callable[[], None] | None:
    """A function for the child to run before exec: the kernel then kills the child when the thread
    that started it ends. Without it a `kill -9` of the parent would leave a broker and workers
    behind. Only Linux can do this; elsewhere the parent must end in order.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before the call above
            os.kill(os.getpid(), signal.SIGKILL)

    return ask_kernel


def spawn(
    argv: Sequence[str],
    log: Path | None,
    env: Mapping[str, str] | None = None,
    files: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `argv` in its own session, with its output appended to `log`, or to ours if that is
    None; `env` adds to ours. It inherits the descriptors `files`.

    The terminal's Ctrl-C does not reach another session, so the parent can end its children in
    order. Call it from the main thread: the child ends with the thread that started it. Only its
    user can read its files.
    """
    with log.open("ab") if log else contextlib.nullcontext() as out:
        return subprocess.Popen(  # noqa: S603 (argv is ours)
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT if log else None,
            pass_fds=files,
            env={**os.environ, **(env or {})},
            start_new_session=True,
            umask=PRIVATE,
            preexec_fn=_die_with(os.getpid()),
        )


def stop(process: subprocess.Popen[bytes], timeout: float) -> int:
    """SIGTERM, then SIGKILL after `timeout` seconds; returns the exit code."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


class Ports:
    """Free TCP ports, each handed out once: the program for it may not listen yet."""

    def __init__(self, ports: range = PORTS) -> None:
        self._ports = ports
        self._left = SystemRandom().sample(ports, len(ports))

    def free(self, preferred: int = 0, host: str = "127.0.0.1") -> int:
        """Return a free port of `host`; `preferred` if it is free. Raises OSError, also if the host
        is not this machine.
        """
        if preferred and _is_free(preferred, host):
            return preferred
        while self._left:
            if _is_free(port := self._left.pop(), host):
                return port
        raise OSError(f"no free port between {self._ports[0]} and {self._ports[-1]}")


def _is_free(port: int, host: str) -> bool:
    family = socket.getaddrinfo(host or None, port, flags=socket.AI_PASSIVE)[0][0]
    with socket.socket(family) as probe:
        # As servers do: an old connection in TIME_WAIT does not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
        return True


def tail(file: Path, lines: int = 20, start: int = 0) -> str:
    """The last lines of a log, at most from the byte `start` on; empty if there is no log."""
    try:
        with file.open("rb") as log:
            size = file.stat().st_size
            log.seek(max(start if start <= size else 0, size - 65_536))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
