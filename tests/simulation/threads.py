"""Threads of a process with an event loop, in the place of Python's."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tests.simulation.loop import SimulatedLoop
from tests.simulation.scheduler import Process
from tests.simulation.worker import SimulatedEvent


def _process() -> Process:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    return loop.process


class _Thread:
    def __init__(self, target: Callable[[], None], **_: Any) -> None:
        self._target = target

    def start(self) -> None:
        _process().spawn(self._target)


# What replaces the module `threading`.
THREADING = SimpleNamespace(Event=lambda: SimulatedEvent(_process()), Thread=_Thread)
