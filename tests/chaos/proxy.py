"""A TCP proxy that cuts connections, delays what they carry, or forwards nothing for a while.

A connection that is held is as half-open as one whose peer is behind a broken network: it stays
open, and what was sent arrives once the network is well again.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

# A host and a port, or the path of a Unix socket.
Target = tuple[str, int] | Path
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_CHUNK_BYTES = 1 << 16
# With it, closing sends RST (socket(7)).
_LINGER = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards connections to `target`. `lag` delays each chunk, in seconds."""

    def __init__(self, target: Target) -> None:
        self.lag = 0.0
        self._target = target
        self._refuses = False
        self._passes = asyncio.Event()
        self._passes.set()
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Reset all connections, and new ones until `heal`."""
        self._refuses = True
        for writer in self._writers:
            reset(writer)

    def hold(self) -> None:
        """Keep and accept connections, but forward nothing until `heal`."""
        self._passes.clear()

    def heal(self) -> None:
        self.lag, self._refuses = 0.0, False
        self._passes.set()

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one accepted connection until both its ends have closed it."""
        if self._refuses:
            return reset(writer)
        async with self._kept(writer):
            await self._passes.wait()
            there_reader, there = await self._dial()
            async with self._kept(there), asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, there))
                tasks.create_task(self._pump(there_reader, writer))

    async def _dial(self) -> _Streams:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    @contextlib.asynccontextmanager
    async def _kept(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        """Close the writer at the end, or reset it after an error of either connection."""
        self._writers.add(writer)
        try:
            yield
        except* OSError:
            reset(writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            await asyncio.sleep(self.lag)
            await self._passes.wait()
            if writer.is_closing():  # it was reset
                return
            writer.write(chunk)
            await writer.drain()
        if not writer.is_closing():
            writer.write_eof()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close the connection with RST, whatever it still has to send."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.family != socket.AF_UNIX:
        # Its peer has reset it already, or it is closed here: uvloop then has no file descriptor.
        with contextlib.suppress(OSError, ValueError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    writer.transport.abort()
