"""HTTP on real sockets, byte by byte."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from connectors.http.protocol import HttpLimits, OnRefusal
from connectors.http.server import Address, http_server
from tests.support.waiting import PATIENCE, until


class Connection:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *parts: bytes, end: bool = False) -> None:
        """Send each part in a packet of its own. With `end`, send no more, but go on reading."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0.01)
        if end:
            self.writer.write_eof()

    async def answer(self, *, to_head: bool = False) -> tuple[int, bytes]:
        """Status and body of the next answer; the connection stays open. An answer `to_head` has no
        body; one without a length has the rest of the connection.
        """
        status = 100
        while status == 100:
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)
            status = int(head.split()[1])
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        if to_head or status in (204, 304):
            return status, b""
        if fields.get(b"transfer-encoding") == b"chunked":
            return status, await asyncio.wait_for(self._chunks(), PATIENCE)
        length = fields.get(b"content-length")
        return status, await (self.reader.readexactly(int(length)) if length else self.rest())

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return body

    async def rest(self) -> bytes:
        """All that the server sends until it closes the connection."""
        return await asyncio.wait_for(self.reader.read(), PATIENCE)


class Wire:
    """The clients of one server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connections: list[Connection] = []

    async def connect(self) -> Connection:
        streams = await asyncio.open_connection("127.0.0.1", self.port)
        self._connections.append(Connection(*streams))
        return self._connections[-1]

    async def statuses(self, *parts: bytes, end: bool = False) -> list[int]:
        """The statuses of the answers on one connection, until the server closes it."""
        connection = await self.connect()
        await connection.send(*parts, end=end)
        lines = (await connection.rest()).split(b"HTTP/1.1 ")[1:]
        connection.writer.close()
        return [int(line.split()[0]) for line in lines]

    def close(self, connection: Connection) -> None:
        """Close the connection at once."""
        self._connections.remove(connection)
        connection.writer.transport.abort()

    def abort(self) -> None:
        for connection in list(self._connections):
            self.close(connection)


@asynccontextmanager
async def listening(
    app: ASGIApp, limits: HttpLimits | None = None, refused: OnRefusal | None = None
) -> AsyncIterator[Wire]:
    """A server for `app` that ends with the block, and its clients."""
    address = Address("127.0.0.1", 0, limits or HttpLimits())
    server = http_server(app, address, refused=refused)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started, "the server")
    wire = Wire(server.servers[0].sockets[0].getsockname()[1])
    try:
        yield wire
    finally:
        wire.abort()
        server.should_exit = True
        await serving
