"""Connections that several processes accept from the same sockets.

The kernel wakes all processes that wait for a connection, and the same one is first each time: it
would take nearly all of them (https://github.com/Kludex/uvicorn/pull/2472). SO_REUSEPORT would
spread them, but a process that is killed would take its waiting connections with it, and those of a
frozen one would wait with it. So a process leaves a connection for a moment to those that have
fewer.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

# So long a process leaves a connection to the others: some rounds of their loops.
_YIELD_SECONDS = 0.002
# As asyncio: after so long a process that has no free file descriptor tries again.
_RETRY_SECONDS = 1.0


class Shares:
    """The number of connections of each process, in memory that all of them map."""

    def __init__(self, counts: memoryview, index: int) -> None:
        self._counts, self._index = counts, index

    def publish(self, connections: int) -> bool:
        """Publish this process's number. Return whether another process has fewer."""
        self._counts[self._index] = connections
        return min(self._counts) < connections


class Acceptor:
    """Accepts connections for `create` from sockets that this process shares with others, until it
    is closed.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        create: Callable[[], asyncio.Protocol],
        others_have_fewer: Callable[[], bool],
    ) -> None:
        self._sockets, self._create, self._others_have_fewer = sockets, create, others_have_fewer
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._closed = False
        for one in sockets:
            one.setblocking(False)
            self._loop.add_reader(one, self._connection_waits, one)

    def close(self) -> None:
        """Accept no more. Connections that wait are left to the other processes."""
        self._closed = True
        for one in self._sockets:
            self._loop.remove_reader(one)

    def _connection_waits(self, listening: socket.socket) -> None:
        if self._others_have_fewer():
            self._pause(listening, _YIELD_SECONDS, self._accept)
        else:
            self._accept(listening)

    def _pause(
        self, listening: socket.socket, seconds: float, then: Callable[[socket.socket], None]
    ) -> None:
        self._loop.remove_reader(listening)
        self._loop.call_later(seconds, self._resume, listening, then)

    def _resume(self, listening: socket.socket, then: Callable[[socket.socket], None]) -> None:
        if not self._closed:
            self._loop.add_reader(listening, self._connection_waits, listening)
            then(listening)

    def _accept(self, listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process was faster, or the client has gone
        except OSError as error:
            log.warning("cannot accept a connection: %s", error)
            self._pause(listening, _RETRY_SECONDS, self._connection_waits)
            return
        opening = self._loop.create_task(self._open(connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await self._loop.connect_accepted_socket(self._create, connection)
