"""What the client makes of a provider's answers, and of connections that fail."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Thread

import pytest
import uvloop

from connectors.http.client import UNREACHED, fetch, http_client, retry_after
from connectors.providers.base import ApiRequest, ApiResponse


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("999999999999", 3600.0),
        ("Fri, 01 Mar 2024 12:00:30 GMT", 30.0),
        ("Fri, 01 Mar 2024 11:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("soon", None),
        ("-3", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(text: str, seconds: float | None) -> None:
    now = datetime(2024, 3, 1, 12, 0, 0, tzinfo=UTC)
    assert retry_after(ApiResponse(429, b"", {"Retry-After": text}), now) == seconds


@pytest.fixture
def resetting() -> Iterator[str]:
    """Yield the URL of a server that resets each connection at once."""
    server = socket.create_server(("127.0.0.1", 0), backlog=100)

    def reset_all() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:  # closed
                return
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()

    thread = Thread(target=reset_all)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_reset_connection_is_an_unreached_provider(resetting: str) -> None:
    """Of the loop of our processes: one of a hundred was an AttributeError, and ended the board or
    the sandbox.
    """

    async def outcomes() -> list[object]:
        found: list[object] = []
        async with http_client() as client:
            for _ in range(100):
                calls = [fetch(client, ApiRequest("GET", resetting)) for _ in range(20)]
                found += await asyncio.gather(*calls, return_exceptions=True)
        return found

    found = uvloop.run(outcomes())
    assert [error for error in found if not isinstance(error, UNREACHED)] == []
