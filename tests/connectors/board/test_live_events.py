"""The live stream: every change reaches every client that keeps up."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from connectors.board.database.projection import Message
from connectors.board.feed.live_events import EventStream, Hub
from schemas.records import LinkStatus
from tests.connectors.board.samples import Make
from tests.support.waiting import PATIENCE

Change = tuple[Message, LinkStatus]


@pytest.fixture
def change(make: Make) -> Change:
    status = make.status()
    return make.statuses(status)[0], status


class Client:
    """A client of the stream. It takes what the board sends, or stalls after the headers."""

    def __init__(self, hub: Hub, *, stalls: bool = False) -> None:
        self._stalls = stalls
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._gone = asyncio.Event()
        self.task = asyncio.create_task(self._listen(hub))

    async def _listen(self, hub: Hub) -> None:
        await EventStream(hub)({"type": "http"}, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if body := message.get("body"):
            self._frames.put_nowait(body)
            if self._stalls:
                await asyncio.Event().wait()

    async def next(self) -> str:
        return (await asyncio.wait_for(self._frames.get(), PATIENCE)).decode()

    async def leave(self) -> None:
        self._gone.set()
        await asyncio.wait_for(self.task, PATIENCE)


async def test_change_is_sent_with_its_origin_and_record(change: Change) -> None:
    hub = Hub()
    client = Client(hub)
    assert await client.next() == "retry: 2000\n\n"
    hub.publish([change], {"link_status": 1})
    event, origin, data, *_ = (await client.next()).split("\n")
    assert (event, origin) == ("event: link", "id: link-status/0/0")
    assert json.loads(data.removeprefix("data: "))["link_id"] == "link-1"
    assert await client.next() == 'event: activity\ndata: {"link_status": 1}\n\n'
    await client.leave()


async def test_silence_has_a_heartbeat() -> None:
    client = Client(Hub(heartbeat=0.01))
    await client.next()
    assert await client.next() == ": still here\n\n"
    await client.leave()


async def test_client_that_leaves_is_forgotten() -> None:
    hub = Hub(max_clients=1)
    client = Client(hub)
    await client.next()
    assert hub.is_full()
    await client.leave()
    assert not hub.is_full()


async def test_slow_client_is_dropped_and_others_stay(change: Change) -> None:
    hub = Hub(queue_size=2, send_timeout=0.05)
    slow = Client(hub, stalls=True)
    await slow.next()
    for _ in range(3):
        hub.publish([change], {})
    await asyncio.wait_for(slow.task, PATIENCE)
    quick = Client(hub)
    await quick.next()
    hub.publish([change], {})
    assert "link-1" in await quick.next()
    await quick.leave()


async def test_closing_ends_every_stream() -> None:
    hub = Hub()
    clients = [Client(hub) for _ in range(3)]
    for client in clients:
        await client.next()
    hub.close()
    await asyncio.wait_for(asyncio.gather(*(client.task for client in clients)), PATIENCE)
    assert hub.is_full()
