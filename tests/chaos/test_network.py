"""The network of a seed does to connections what a broken network does."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
import uvloop

from tests.chaos.network import HOST, Network
from tests.chaos.proxy import reset
from tests.support.ports import free_port


@pytest.fixture
def network() -> Iterator[tuple[Network, int]]:
    """Yield a network and the port of its link "client>echo"."""
    server = socket.create_server((HOST, free_port()))

    def echo(peer: socket.socket) -> None:
        with peer, suppress(ConnectionError):
            while data := peer.recv(1 << 16):
                peer.sendall(data)

    def accept() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=echo, args=[peer], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    network = Network()
    with closing(server), closing(network):
        yield network, network.add("client>echo", server.getsockname())


def connected(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=5)


def answer(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    return client.recv(len(text), socket.MSG_WAITALL)


def test_link_forwards_all_bytes_and_the_end(network: tuple[Network, int]) -> None:
    with connected(network[1]) as client:
        assert answer(client, bytes(range(256)) * 100) == bytes(range(256)) * 100
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_cut_link_resets_connections_until_it_is_healed(network: tuple[Network, int]) -> None:
    links, port = network
    with connected(port) as client:
        assert answer(client, b"before") == b"before"
        links.cut("client>echo")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionResetError), connected(port) as client:
        client.recv(1)
    links.heal("client>echo")
    with connected(port) as client:
        assert answer(client, b"after") == b"after"


def test_half_open_link_forwards_only_once_it_is_healed(network: tuple[Network, int]) -> None:
    links, port = network
    with connected(port) as old:
        assert answer(old, b"before") == b"before"
        links.hold("client>echo")
        with connected(port) as new:
            for client in (old, new):
                client.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    answer(client, b"held")
            links.heal("client>echo")
            for client in (old, new):
                client.settimeout(5)
                assert client.recv(4, socket.MSG_WAITALL) == b"held"


def test_lagging_link_answers_late(network: tuple[Network, int]) -> None:
    links, port = network
    links.delay("client>echo", 0.2)
    with connected(port) as client:
        started = time.monotonic()
        assert answer(client, b"late") == b"late"
        # There and back.
        assert time.monotonic() - started >= 0.4


def test_link_without_a_server_resets_its_client() -> None:
    links = Network()
    port = links.add("client>absent", (HOST, free_port()))
    with pytest.raises(ConnectionResetError), closing(links), connected(port) as client:
        client.recv(1)


def test_connection_that_is_closed_can_be_reset() -> None:
    async def reset_twice() -> None:
        accepted = asyncio.get_running_loop().create_future()
        port = free_port()
        async with await asyncio.start_server(lambda *ends: accepted.set_result(ends), HOST, port):
            _, client = await asyncio.open_connection(HOST, port)
            _, writer = await accepted
            reset(writer)
            await asyncio.sleep(0.01)
            reset(writer)
            client.close()

    uvloop.run(reset_twice())
