"""A connection that only posts. httpx uses more CPU for a request than the edge for its answer, and
the sender shares the machine with the system under test.
"""

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

_TIMEOUT_SECONDS = 8.0
# A killed server sends no answer, or half of one.
NO_ANSWER = (OSError, EOFError, TimeoutError, ValueError)


class Connection:
    """One HTTP/1.1 connection, kept open, and opened again after any failure."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Return the status of the answer. Raises one of NO_ANSWER."""
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await self._post(urlsplit(url).path, body, headers)
        except BaseException:
            self.close()
            raise

    async def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        lines = [f"POST {path} HTTP/1.1", f"host: {self._host}:{self._port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"content-length: {len(body)}", "", ""]
        writer.write("\r\n".join(lines).encode("latin-1") + body)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        answer = dict(line.split(": ", 1) for line in head[1:] if line)
        await reader.readexactly(int(answer["content-length"]))
        if answer.get("connection") == "close":
            self.close()
        return int(head[0].split(" ")[1])

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
