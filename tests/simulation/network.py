"""Requests between clients and the cluster: they take time; faults lose, delay and repeat them."""

from collections.abc import Callable, Collection
from functools import partial
from random import Random
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from tests.simulation.scheduler import Process, Scheduler

T = TypeVar("T")
Reply = Callable[[Any], None]

# A lost request is sent again after this time, on a new connection.
_AGAIN_SECONDS = 0.4
_BACKOFF_SECONDS = 0.01


class Refused(Exception):
    """The cluster answers with this error code."""

    def __init__(self, code: int) -> None:
        super().__init__(KafkaError(code).name())
        self.code = code


class Disturbance:
    """What faults do to one request: see `faults.Fault`. By default, nothing."""

    def __init__(self) -> None:
        self.lost_request = self.lost_response = self.late_copy = False
        # The process stands still before it sends.
        self.is_held = False
        self.delay = 0.0


class Network:
    """`disturb` is asked about each request, by process and kind."""

    def __init__(self, scheduler: Scheduler, random: Random) -> None:
        self.scheduler = scheduler
        self.disturb: Callable[[Process, str], Disturbance | None] = lambda process, kind: None
        self._random = random
        self._away_until = 0.0
        # Of each connection, when its last request arrives, and until when requests are lost.
        self._last_arrival: dict[object, float] = {}
        self._broken_until: dict[object, float] = {}

    def go_away(self, seconds: float) -> None:
        """Let no request reach the cluster, and no response leave it."""
        self._away_until = max(self._away_until, self.scheduler.now + seconds)

    @property
    def away_seconds(self) -> float:
        return max(0.0, self._away_until - self.scheduler.now)

    def _in_order(self, connection: object, delay: float) -> float:
        """Return the delay of a request, so that it arrives after the earlier ones."""
        if connection is None:
            return delay
        at = max(self.scheduler.now + delay, self._last_arrival.get(connection, 0.0) + 1e-6)
        self._last_arrival[connection] = at
        return at - self.scheduler.now

    def _latency(self) -> float:
        random = self._random.random()
        return 0.0002 + 0.002 * random if random < 0.97 else 0.02 * random

    def send(
        self,
        process: Process,
        kind: str,
        handle: Callable[[Reply], None],
        receive: Callable[[Any], None],
        again: bool = True,
        connection: object = None,
    ) -> None:
        """Send a request; `handle` runs at the cluster and replies, `receive` at the process gets
        the reply once. With `again` a request without an answer is sent again. The requests of one
        `connection` arrive in their order, and a lost one takes the later ones with it.
        """
        process.check_alive()
        answered, latest = False, 0

        def once(number: int, reply: Any) -> None:
            # An earlier attempt's connection is closed.
            nonlocal answered
            if not answered and number == latest:
                answered = True
                receive(reply)

        def attempt() -> None:
            nonlocal latest
            if answered:
                return None
            latest += 1
            number = latest
            fate = self.disturb(process, kind) or Disturbance()
            if fate.is_held:
                return process.later(0, attempt)
            if away := self.away_seconds:
                if again:
                    process.later(away + self._latency(), attempt)
                return None
            delay = self._in_order(connection, self._latency() + fate.delay)
            if fate.lost_request:
                self._broken_until[connection] = self.scheduler.now + _AGAIN_SECONDS
            elif connection and self.scheduler.now < self._broken_until.get(connection, 0.0):
                fate.lost_request = True
            if not fate.lost_request:
                self.scheduler.later(delay, lambda: arrive(number, fate.lost_response))
            if fate.late_copy:
                self.scheduler.later(
                    delay + 0.5 + 3 * self._random.random(), lambda: arrive(number, True)
                )
            if again and (fate.lost_request or fate.lost_response or fate.delay):
                process.later(_AGAIN_SECONDS, attempt)
            return None

        def arrive(number: int, silent: bool) -> None:
            if self.away_seconds:
                # The connection is gone with it: a client notices that.
                if again and not silent:
                    process.later(self.away_seconds + self._latency(), attempt)
                return
            self.scheduler.note(f"{process.name} {kind}")
            handle((lambda reply: None) if silent else partial(respond, number))

        def respond(number: int, reply: Any) -> None:
            process.later(self._latency() + self.away_seconds, lambda: once(number, reply))

        attempt()

    def send_once(
        self,
        process: Process,
        kind: str,
        handle: Callable[[Reply], None],
        receive: Callable[[Any], None],
        lost: Callable[[], None],
    ) -> None:
        """As `send`, but what is lost breaks the connection: `lost` is called, and the request is
        not sent again. What a fault repeats arrives late, from the broken connection.
        """
        process.check_alive()
        fate = self.disturb(process, kind) or Disturbance()
        if fate.is_held:
            process.later(0, lambda: self.send_once(process, kind, handle, receive, lost))
            return
        if self.away_seconds:
            process.later(self._latency(), lost)
            return

        def arrive(silent: bool) -> None:
            if self.away_seconds:
                process.later(self._latency(), lost)
                return
            self.scheduler.note(f"{process.name} {kind}")
            handle((lambda reply: None) if silent else respond)

        def respond(reply: Any) -> None:
            process.later(self._latency() + self.away_seconds, lambda: receive(reply))

        delay = self._latency() + fate.delay
        is_late = fate.late_copy
        if not fate.lost_request:
            late = 0.5 + 3 * self._random.random() if is_late else 0.0
            self.scheduler.later(delay + late, lambda: arrive(is_late or fate.lost_response))
        if fate.lost_request or fate.lost_response or is_late:
            process.later(delay + self._latency(), lost)

    def call(
        self,
        process: Process | None,
        kind: str,
        handle: Callable[[], T],
        seconds: float,
        wait_for: Collection[int] = (),
        retriable: bool = False,
    ) -> T:
        """Send a request from the running thread and wait for the answer. While the cluster
        answers one of the codes `wait_for`, ask again. Without a process there is no network.

        Raises KafkaException: after `seconds`, `retriable` as librdkafka marks it for this call; or
            with the code of Refused.
        """
        if process is None:
            try:
                return handle()
            except Refused as refusal:
                raise KafkaException(KafkaError(refusal.code)) from None
        thread, deadline = process.thread, self.scheduler.now + seconds
        replies: list[Any] = []
        waiting = True

        def receive(reply: Any) -> None:
            # A late answer must not wake the thread out of another wait.
            if waiting:
                replies.append(reply)
                thread.wake()

        while True:
            self.send(process, kind, replying(handle), receive)
            while not replies and self.scheduler.now < deadline:
                thread.wait(deadline - self.scheduler.now)
            if not replies:
                waiting = False
                raise KafkaException(
                    KafkaError(KafkaError._TIMED_OUT, f"{kind} timed out", retriable=retriable)
                )
            reply = replies.pop()
            if not isinstance(reply, Refused):
                return reply  # type: ignore[no-any-return]
            if reply.code not in wait_for:
                raise KafkaException(KafkaError(reply.code))
            thread.wait(min(_BACKOFF_SECONDS, max(0.0, deadline - self.scheduler.now)))


def replying(handle: Callable[[], Any]) -> Callable[[Reply], None]:
    """Return a handler that replies with the result of `handle`, or with the refusal it raises."""

    def answer(reply: Reply) -> None:
        try:
            result = handle()
        except Refused as refusal:
            reply(refusal)
        else:
            reply(result)

    return answer
