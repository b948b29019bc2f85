"""Several processes accept from one socket: each has as many connections as the others."""

import asyncio
import resource
import socket
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest

from connectors.http.acceptor import Acceptor, Shares
from connectors.http.server import Address, CannotListen, listen
from tests.support.ports import free_port
from tests.support.waiting import until


class Process(asyncio.Protocol):
    """What a process has of its own: an acceptor, its connections and its place in the counts."""

    def __init__(self, listening: socket.socket, counts: memoryview, index: int) -> None:
        self.connections: list[asyncio.BaseTransport] = []
        self._shares = Shares(counts, index)
        self._listening = listening.dup()
        self.acceptor = Acceptor([self._listening], lambda: self, self._others_have_fewer)

    def _others_have_fewer(self) -> bool:
        return self._shares.publish(len(self.connections))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connections.append(transport)

    def close(self) -> None:
        self.acceptor.close()
        self._listening.close()
        for transport in self.connections:
            transport.close()


class Group:
    """Processes with one socket, and their clients."""

    def __init__(self, listening: socket.socket, count: int, running: int) -> None:
        counts = memoryview(array("i", [0] * count))
        self.processes = [Process(listening, counts, index) for index in range(running)]
        self.address = listening.getsockname()
        self._clients: list[socket.socket] = []

    async def connect(self, count: int = 1) -> None:
        """Open so many connections, and wait until they are accepted."""
        for _ in range(count):
            client = socket.socket()
            client.setblocking(False)
            self._clients.append(client)
            await asyncio.get_running_loop().sock_connect(client, self.address)
        await until(lambda: sum(self.numbers()) == len(self._clients), "all connections")

    def numbers(self) -> list[int]:
        return [len(process.connections) for process in self.processes]

    def close(self) -> None:
        for process in self.processes:
            process.close()
        for client in self._clients:
            client.close()


@asynccontextmanager
async def group(count: int, running: int | None = None) -> AsyncIterator[Group]:
    """A group for `count` processes; the others do not run."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        closing(Group(listening, count, running or count)) as processes,
    ):
        yield processes
    # uvloop and asyncio close a transport in the next round.
    await asyncio.sleep(0)


@pytest.mark.parametrize("bursts", [[30], [1] * 30], ids=["a burst", "one after the other"])
async def test_processes_have_equally_many_connections(bursts: list[int]) -> None:
    async with group(3) as processes:
        for burst in bursts:
            await processes.connect(burst)
        assert max(processes.numbers()) - min(processes.numbers()) <= 2, processes.numbers()


async def test_process_takes_what_a_process_with_fewer_leaves() -> None:
    """The other one has been killed, or is frozen."""
    async with group(2, running=1) as processes:
        await processes.connect(5)


async def test_ended_process_leaves_waiting_connections_to_the_others() -> None:
    async with group(2) as processes:
        processes.processes[0].acceptor.close()
        await processes.connect(3)
        assert processes.numbers() == [0, 3]


async def test_process_without_a_free_descriptor_accepts_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with group(1) as processes:
        client = socket.socket()
        client.setblocking(False)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
        try:
            await asyncio.get_running_loop().sock_connect(client, processes.address)
            await until(lambda: "cannot accept" in caplog.text, "the warning")
            assert processes.numbers() == [0]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await until(lambda: processes.numbers() == [1], "the connection")
        client.close()


def test_address_that_is_taken_or_foreign_is_named() -> None:
    port = free_port()
    sockets = listen(Address("127.0.0.1", port))
    with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1:{port}; end the process"):
        listen(Address("127.0.0.1", port))
    for one in sockets:
        one.close()
    with pytest.raises(CannotListen, match="LINKSTATUS_HTTP__HOST"):
        listen(Address("192.0.2.1", port))


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_empty_host_listens_on_both_families() -> None:
    sockets = listen(Address("", free_port()))
    assert {one.family for one in sockets} == {socket.AF_INET, socket.AF_INET6}
    for one in sockets:
        one.close()
