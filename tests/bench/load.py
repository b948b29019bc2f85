"""A load generator light enough to share a machine with what it loads: bare HTTP/1.1 on asyncio.

`python -m tests.bench.load PORT CONNECTIONS SECONDS` posts as fast as answers come and prints one
line of JSON. An answer ends with a blank line, because the edge sends no body.
"""

import asyncio
import json
import random
import sys
import time
from itertools import cycle
from typing import cast

import uvloop

from tests.bench.bodies import ipint, peach, ping

_OK = b"HTTP/1.1 200 "


def request(path: str, body: bytes, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    """Return the bytes of one POST on a persistent connection."""
    lines = [
        f"POST {path} HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/json",
        "user-agent: bench",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def requests(count: int) -> list[bytes]:
    """Return callbacks of three providers in turn; those of Peach are signed."""
    rng = random.Random(2)
    sent = [
        callback
        for number in range(count)
        for callback in (peach, ping, ipint)[number % 3](rng, 1_767_225_600 + number)
        if callback.lookup is None and callback.content_type == "application/json"
    ]
    rng.shuffle(sent)
    return [
        request(f"/callbacks/{callback.provider}", callback.body, callback.headers)
        for callback in sent
    ]


class Connection(asyncio.Protocol):
    """Posts again after each answer."""

    def __init__(self, posts: "cycle[bytes]", until: float) -> None:
        self._posts, self._until = posts, until
        self.seconds: list[float] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not instances of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._answer = b""
        self._post()

    def _post(self) -> None:
        self._started = time.perf_counter()
        self._transport.write(next(self._posts))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._answer.startswith(_OK):
            self.ended.set_exception(RuntimeError(f"the edge answered {self._answer!r}"))
            self._transport.abort()
            return
        if not self._answer.endswith(b"\r\n\r\n"):
            return
        now = time.perf_counter()
        self.seconds.append(now - self._started)
        self._answer = b""
        if now < self._until:
            self._post()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error) if error else self.ended.set_result(None)


async def load(port: int, connections: int, seconds: float) -> dict[str, float]:
    """Return the answers per second, and quantiles of their times in milliseconds."""
    posts = cycle(requests(2000))
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    created = [
        (
            await loop.create_connection(
                lambda: Connection(posts, started + seconds), "127.0.0.1", port
            )
        )[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(connection.ended for connection in created))
    elapsed = time.perf_counter() - started
    times = sorted(time for connection in created for time in connection.seconds)
    return {
        "callbacks_per_s": round(len(times) / elapsed),
        "p50_ms": round(quantile(times, 0.5) * 1000, 3),
        "p99_ms": round(quantile(times, 0.99) * 1000, 3),
    }


def quantile(ordered: list[float], part: float) -> float:
    """Return a quantile of an ordered list, by nearest rank."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


if __name__ == "__main__":
    port, connections, seconds = sys.argv[1:]
    print(json.dumps(uvloop.run(load(int(port), int(connections), float(seconds)))))
