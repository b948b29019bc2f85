"""The asyncio event loop of a simulated process: its clock and its waiting are the scheduler's."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

from tests.simulation.scheduler import Killed, Process

Main = Callable[[], Coroutine[Any, Any, None]]
# A task that is unwound may wait so often in its `finally` blocks.
_MOST_WAITS = 100
# An iteration takes time: aiokafka waits for as little as the clock can tell.
_STEP_SECONDS = 1e-6
# Its own parts are not in the type stubs.
_Base: Any = asyncio.BaseEventLoop


class _Numbered:
    """Sets of it have the same order in each run."""

    number: int

    def __hash__(self) -> int:
        return self.number


class _Task(_Numbered, asyncio.Task[Any]):
    def __init__(self, number: int, *args: Any, **options: Any) -> None:
        self.number = number
        super().__init__(*args, **options)


class _Future(_Numbered, asyncio.Future[Any]):
    pass


class _NoSelector:
    """There is no I/O: the scheduler decides when the loop runs."""

    def select(self, timeout: float | None) -> list[Any]:
        return []


class SimulatedLoop(_Base):  # type: ignore[misc]
    """Runs `main` as the only thread of a process, one iteration for each call of the scheduler, so
    that a fault can fall between any two of them.
    """

    def __init__(self, process: Process, main: Main) -> None:
        super().__init__()
        self.process = process
        self._selector = _NoSelector()
        self._numbers = count()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._signals: dict[int, Callable[[], None]] = {}
        # When the loop runs next; counts these appointments, so that an earlier one has no effect.
        self._next_at: float | None = None
        self._turn = 0
        self.set_task_factory(self._new_task)
        self._main = self._within(lambda: self.create_task(main()))
        self._main.add_done_callback(self._ended)
        process.add(self)

    def _new_task(self, loop: Any, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = _Task(next(self._numbers), coro, loop=self, **options)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    def create_future(self) -> asyncio.Future[Any]:
        future = _Future(loop=self)
        future.number = next(self._numbers)
        return future

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self

    def time(self) -> float:
        return self.process.scheduler.now

    def call_soon(self, *args: Any, **options: Any) -> asyncio.Handle:
        handle: asyncio.Handle = super().call_soon(*args, **options)
        self._wake_at(self.time())
        return handle

    def call_at(self, when: float, *args: Any, **options: Any) -> asyncio.TimerHandle:
        handle: asyncio.TimerHandle = super().call_at(when, *args, **options)
        self._wake_at(when)
        return handle

    def call_soon_threadsafe(self, *args: Any, **options: Any) -> asyncio.Handle:
        return self.call_soon(*args, **options)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        """Call it at once: there are no threads."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:
        self._signals[sig] = lambda: callback(*args)

    def signal(self, number: int) -> None:
        """Let the process get a signal. Without a handler it dies, as at its start."""
        handler = self._signals.get(number)
        if handler is None:
            self.process.kill()
        else:
            self._within(handler)

    def _wake_at(self, when: float) -> None:
        if self._next_at is not None and self._next_at <= when:
            return
        self._next_at = when
        self._turn += 1
        turn = self._turn
        self.process.later(max(_STEP_SECONDS, when - self.time()), lambda: self._run(turn))

    def _run(self, turn: int) -> None:
        if turn != self._turn or self.is_closed():
            return
        self._next_at = None
        self._within(self._run_once)
        if self._ready:
            self._wake_at(self.time())
        elif self._scheduled:
            self._wake_at(self._scheduled[0]._when)

    def _within(self, call: Callable[[], Any]) -> Any:
        """Make the call as this loop does: a loop may run within another one."""
        before, hooks = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
        asyncio._set_running_loop(self)
        sys.set_asyncgen_hooks(
            firstiter=self._asyncgen_firstiter_hook,
            finalizer=self._asyncgen_finalizer_hook,
        )
        try:
            return call()
        finally:
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(before)

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """No thread waits in a selector."""

    def _ended(self, main: asyncio.Task[Any]) -> None:
        if not main.cancelled() and (error := main.exception()) is not None:
            self.process.scheduler.errors.append(error)

    @property
    def has_ended(self) -> bool:
        return bool(self._main.done())

    def kill(self) -> None:
        """Unwind all tasks. The process is dead, so no cleanup reaches the cluster."""
        if not self.is_closed():
            self._within(self._unwind)
            self.close()

    def _unwind(self) -> None:
        while self._tasks:
            task, _ = self._tasks.popitem()
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            _close(task.get_coro())


def _close(coroutine: Any) -> None:
    """Leave the coroutine, and all its `finally` blocks, whatever they wait for."""
    for _ in range(_MOST_WAITS):
        try:
            coroutine.close()
        except RuntimeError:
            # It waits once more.
            continue
        except (Exception, Killed):
            return
        else:
            return
    raise AssertionError(f"{coroutine} does not end")
