"""Simulated time and processes: one thread, an event queue, and a greenlet for each thread."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from greenlet import getcurrent, greenlet


class Killed(BaseException):
    """The process is dead: nothing that it does now has an effect."""


class Scheduler:
    """Runs calls at their simulated times (seconds). Calls of the same time keep their order.

    `history` is what happened at the cluster, a line each.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.history: list[str] = []
        self.running: Thread | None = None
        # Errors of threads: they are bugs of the simulation.
        self.errors: list[BaseException] = []
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        heappush(self._calls, (self.now + seconds, next(self._number), call))

    def note(self, text: str) -> None:
        self.history.append(f"{self.now:.6f} {text}")

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> None:
        """Run until that time, or until `done` holds. Raises the error of a thread."""
        while self._calls and self._calls[0][0] <= until and not done():
            self.now, _, call = heappop(self._calls)
            call()
            if self.errors:
                raise self.errors[0]


class Runs(Protocol):
    """A thread of a process, or its event loop."""

    @property
    def has_ended(self) -> bool: ...

    def kill(self) -> None: ...


class Process:
    """An operating system process: it can be killed and stopped for a time. Its threads, and what
    its clients do in the background, end or stand still with it.
    """

    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self.scheduler = scheduler
        self.name = name
        self.is_alive = True
        self._threads: list[Runs] = []
        self._stopped_until = 0.0
        # What it does once it goes on.
        self._held_back: list[Callable[[], None]] = []

    def spawn(self, main: Callable[[], None]) -> "Thread":
        thread = Thread(self, main)
        self.add(thread)
        self.later(0, thread.begin)
        return thread

    def add(self, thread: Runs) -> None:
        self._threads = [one for one in self._threads if not one.has_ended]
        self._threads.append(thread)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Make a call of this process, unless it is dead by then."""
        self.scheduler.later(seconds, lambda: self._call(call))

    def _call(self, call: Callable[[], None]) -> None:
        if not self.is_alive:
            return
        if self.is_running:
            call()
        else:
            self._held_back.append(call)

    def stop(self, seconds: float) -> None:
        """Let the process stand still, as SIGSTOP or a long pause of its machine does."""
        until = self.scheduler.now + seconds
        self._stopped_until = max(self._stopped_until, until)
        self.scheduler.later(
            seconds, lambda: self.go_on() if until >= self._stopped_until else None
        )

    def go_on(self) -> None:
        """End the standstill, as SIGCONT does."""
        self._stopped_until = self.scheduler.now
        waiting, self._held_back = self._held_back, []
        for call in waiting:
            self.later(0, call)

    def kill(self) -> None:
        """End the process at once. Call it outside its threads."""
        self.is_alive = False
        for thread in self._threads:
            thread.kill()

    @property
    def is_running(self) -> bool:
        """Whether it is alive and does not stand still."""
        return self.is_alive and self.scheduler.now >= self._stopped_until

    @property
    def has_ended(self) -> bool:
        return not self.is_alive or all(thread.has_ended for thread in self._threads)

    def check_alive(self) -> None:
        if not self.is_alive:
            raise Killed

    @property
    def thread(self) -> "Thread":
        """The thread that runs now."""
        self.check_alive()
        running = self.scheduler.running
        assert running is not None
        return running


class Thread:
    """A thread of a process. It gives way only in `wait`."""

    def __init__(self, process: Process, main: Callable[[], None]) -> None:
        self.process = process
        self._main = main
        self._greenlet = greenlet(self._run)
        # The one that waits for its end.
        self._joining: Thread | None = None
        # Counts waits, so that a late wake-up of an earlier one has no effect.
        self._turn = 0

    def _run(self) -> None:
        try:
            self._main()
        except Killed:
            pass
        except BaseException as error:
            self.process.scheduler.errors.append(error)
        if self._joining is not None and self.process.is_alive:
            self._joining.wake()

    def join(self, seconds: float | None = None) -> None:
        """Let the running thread wait for the end of this one."""
        if not self.has_ended:
            self._joining = self.process.thread
            self._joining.wait(seconds)

    def begin(self) -> None:
        self._switch()

    @property
    def has_ended(self) -> bool:
        return bool(self._greenlet.dead)

    def wait(self, seconds: float | None = None) -> None:
        """Give way until `wake`, or for so many seconds."""
        self.process.check_alive()
        turn = self._turn
        if seconds is not None:
            self.process.later(seconds, lambda: self._resume(turn))
        parent = self._greenlet.parent
        assert parent is not None
        parent.switch()

    def wake(self) -> None:
        """End the present wait. It has no effect on a thread that runs or waits for another one."""
        turn = self._turn
        self.process.later(0, lambda: self._resume(turn))

    def _resume(self, turn: int) -> None:
        if turn == self._turn and not self.has_ended:
            self._switch()

    def _switch(self, killed: BaseException | None = None) -> None:
        scheduler = self.process.scheduler
        self._turn += 1
        self._greenlet.parent = getcurrent()
        before, scheduler.running = scheduler.running, self
        try:
            if killed is not None:
                self._greenlet.throw(killed)
            else:
                self._greenlet.switch()
        finally:
            scheduler.running = before

    def kill(self) -> None:
        """Unwind the thread. The process is dead, so no cleanup reaches the cluster."""
        if self._turn and not self.has_ended:
            self._switch(Killed())
