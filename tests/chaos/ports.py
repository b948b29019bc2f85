"""Ports that stay free while their process is down for a moment."""

import socket
from random import SystemRandom

# Below the range from which Linux takes ports for outgoing connections: there, a client that tries
# to reach a dead process could be given its port, or even connect to itself.
_FIRST, _LAST = 20_000, 29_999


def free_ports(count: int) -> list[int]:
    """Different TCP ports of the loopback interface on which nobody listens."""
    found: list[int] = []
    for port in SystemRandom().sample(range(_FIRST, _LAST), 2000):
        if _is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports between {_FIRST} and {_LAST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
