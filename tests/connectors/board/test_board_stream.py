"""The live stream: every change to everybody who keeps up."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from connectors.board.rows import Message
from connectors.board.stream import EventStream, Hub
from schemas.records import LinkStatus
from tests.connectors.board.samples import Make
from tests.waiting import PATIENCE

Change = tuple[Message, LinkStatus]


@pytest.fixture
def change(make: Make) -> Change:
    status = make.status()
    return make.statuses(status)[0], status


class Listener:
    """A client of the stream: takes what is sent, or stalls after the headers."""

    def __init__(self, hub: Hub, *, stalls: bool = False) -> None:
        self._stalls = stalls
        self._sent: asyncio.Queue[bytes] = asyncio.Queue()
        self._gone = asyncio.Event()
        self.task = asyncio.create_task(self._listen(hub))

    async def _listen(self, hub: Hub) -> None:
        await EventStream(hub)({"type": "http"}, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if body := message.get("body"):
            self._sent.put_nowait(body)
            if self._stalls:
                await asyncio.Event().wait()

    async def next(self) -> str:
        return (await asyncio.wait_for(self._sent.get(), PATIENCE)).decode()

    async def leave(self) -> None:
        self._gone.set()
        await asyncio.wait_for(self.task, PATIENCE)


async def test_a_change_is_told_with_its_place_and_record(change: Change) -> None:
    hub = Hub()
    listener = Listener(hub)
    assert await listener.next() == "retry: 2000\n\n"
    hub.publish([change], {"link_status": 1})
    event, place, data, *_ = (await listener.next()).split("\n")
    assert (event, place) == ("event: link", "id: link-status/0/0")
    assert json.loads(data.removeprefix("data: "))["link_id"] == "link-1"
    assert await listener.next() == 'event: activity\ndata: {"link_status": 1}\n\n'
    await listener.leave()


async def test_silence_has_a_heartbeat() -> None:
    listener = Listener(Hub(heartbeat=0.01))
    await listener.next()
    assert await listener.next() == ": still here\n\n"
    await listener.leave()


async def test_a_client_that_leaves_is_forgotten(change: Change) -> None:
    hub = Hub(clients=1)
    listener = Listener(hub)
    await listener.next()
    assert hub.is_full()
    await listener.leave()
    assert not hub.is_full()


async def test_a_client_that_does_not_keep_up_is_dropped_and_others_stay(change: Change) -> None:
    hub = Hub(waiting=2, patience=0.05)
    slow = Listener(hub, stalls=True)
    await slow.next()
    for _ in range(3):
        hub.publish([change], {})
    await asyncio.wait_for(slow.task, PATIENCE)
    quick = Listener(hub)
    await quick.next()
    hub.publish([change], {})
    assert "link-1" in await quick.next()
    await quick.leave()


async def test_closing_ends_every_stream() -> None:
    hub = Hub()
    listeners = [Listener(hub) for _ in range(3)]
    for listener in listeners:
        await listener.next()
    hub.close()
    await asyncio.wait_for(asyncio.gather(*(listener.task for listener in listeners)), PATIENCE)
    assert hub.is_full()
