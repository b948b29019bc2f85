"""A TCP proxy before a broker. Through it, the first produce request meets a topic that is unknown,
as a topic is for a moment after its creation.
"""

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Final

from connectors.kafka.cluster import Cluster

_HERE: Final = "127.0.0.1"
_PRODUCE: Final = 0
# How long the first produce request waits for a second one on its connection. A producer that
# sends one at a time makes it wait so long.
_HOLD_SECONDS: Final = 1.0


@contextmanager
def refusing_first_produce(cluster: Cluster, topic: str) -> Iterator[tuple[Cluster, "Proxy"]]:
    """Yield the cluster as seen through a proxy. `topic` is with the prefix."""
    host, port = cluster.brokers.split(":")
    with Proxy((host, int(port)), topic) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield replace(cluster, brokers=f"{_HERE}:{proxy.server_address[1]}"), proxy
        proxy.shutdown()


class Proxy(ThreadingTCPServer):
    """`refused` is set once the first produce request is there, before it is refused."""

    daemon_threads = True

    def __init__(self, broker: tuple[str, int], topic: str) -> None:
        super().__init__((_HERE, 0), _Connection)
        self.broker = broker
        self.topic = topic.encode()
        # A name of the same length, which the broker does not know.
        self.unknown = b"0" * len(self.topic)
        self.refused = threading.Event()
        self._address = _packed(*broker), _packed(_HERE, int(self.server_address[1]))

    def is_first(self, request: bytes) -> bool:
        return not self.refused.is_set() and self.topic in request and is_produce(request)

    def to_client(self, answer: bytes) -> bytes:
        """Return the answer as if the proxy were the broker."""
        there, here = self._address
        return answer.replace(there, here).replace(self.unknown, self.topic)


class _Connection(BaseRequestHandler):
    server: Proxy
    request: socket.socket

    def handle(self) -> None:
        with socket.create_connection(self.server.broker) as broker:
            threading.Thread(target=self._answer, args=[broker], daemon=True).start()
            while (request := _frame(self.request)) is not None:
                if self.server.is_first(request):
                    self._refuse(broker, request)
                else:
                    _send(broker, request)
            # Ends the thread that reads the broker's answers.
            broker.shutdown(socket.SHUT_RDWR)

    def _refuse(self, broker: socket.socket, request: bytes) -> None:
        """Send the request with the unknown topic, and at once what the client has sent since."""
        self.server.refused.set()
        later: list[bytes] = []
        while not any(map(is_produce, later)) and _is_readable(self.request):
            if (frame := _frame(self.request)) is None:
                break
            later.append(frame)
        _send(broker, request.replace(self.server.topic, self.server.unknown))
        for frame in later:
            _send(broker, frame)

    def _answer(self, broker: socket.socket) -> None:
        while (answer := _frame(broker)) is not None:
            _send(self.request, self.server.to_client(answer))


def _packed(host: str, port: int) -> bytes:
    return host.encode() + struct.pack(">i", port)


def is_produce(request: bytes) -> bool:
    return bool(struct.unpack_from(">h", request)[0] == _PRODUCE)


def _is_readable(client: socket.socket) -> bool:
    return bool(select.select([client], [], [], _HOLD_SECONDS)[0])


def _frame(end: socket.socket) -> bytes | None:
    """Return the next request or answer without its size, or None at the end of the connection."""
    size = _exactly(end, 4)
    return size and _exactly(end, int(struct.unpack(">i", size)[0]))


def _exactly(end: socket.socket, size: int) -> bytes | None:
    try:
        read = end.recv(size, socket.MSG_WAITALL)
    except OSError:
        return None
    return read if len(read) == size else None


def _send(end: socket.socket, frame: bytes) -> None:
    end.sendall(struct.pack(">i", len(frame)) + frame)
