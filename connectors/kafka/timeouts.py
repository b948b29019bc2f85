"""`asyncio.timeout` for many waits of one length, with one timer for all of them.

With uvloop a timer for each callback would take a large part of the edge's time.
"""

import asyncio


class Timeouts:
    """The waits under way. Each is an `asyncio.timeout(None)`, between `start` and `end`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # In the order of their deadlines, in the loop's time.
        self._deadlines: dict[asyncio.Timeout, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self, timeout: asyncio.Timeout) -> None:
        """Let `timeout` expire after the time, from now on."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.seconds
        self._deadlines[timeout] = deadline
        if self._timer is None:
            self._timer = loop.call_at(deadline, self._expire, loop)

    def end(self, timeout: asyncio.Timeout) -> None:
        """The wait is over, in whatever way."""
        self._deadlines.pop(timeout, None)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """The wait that the timer was set for is over, as a rule: set it for the oldest one."""
        self._timer = None
        now = loop.time()
        for timeout, deadline in list(self._deadlines.items()):
            if deadline > now:
                self._timer = loop.call_at(deadline, self._expire, loop)
                return
            del self._deadlines[timeout]
            timeout.reschedule(now)
