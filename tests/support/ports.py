"""Free ports: no two of a test run are the same.

A program may start seconds after its port is chosen. In these seconds neither another worker of
pytest-xdist nor a program that looks for a port by itself (`linkstatus up`) may get it.
"""

import os
from typing import Final

from streams.local.subprocesses import PORTS, Ports

_LOWEST: Final = 10_000
_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_EACH: Final = 1_000


def ports_of(worker: int) -> range:
    """Return the ports of a worker of pytest-xdist: below those of the product."""
    lowest = _LOWEST + _EACH * (worker % ((PORTS.start - _LOWEST) // _EACH))
    return range(lowest, lowest + _EACH)


free_port = Ports(ports_of(_WORKER)).free
