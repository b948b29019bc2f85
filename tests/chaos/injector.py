"""Injects the faults of a schedule into the system, and ends those that last for some time."""

import time
from collections.abc import Callable
from functools import partial

import httpx

from tests.chaos.poison import BadRegistrations
from tests.chaos.roll import Roll
from tests.chaos.schedule import Fault
from tests.chaos.system import System

# Slow enough to matter, fast enough for an answer before the time-out.
_SLOW_SECONDS = 1.5


class Injector:
    """Use it from the main thread only, as the system."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._poison = BadRegistrations(system.cluster, system.partitions)
        self._rolls: list[Roll] = []
        # When other faults end, and how.
        self._ends: list[tuple[float, Callable[[], object]]] = []

    def inject(self, fault: Fault) -> bool:
        """Return False if the target does not run."""
        system, target = self._system, fault.target
        match fault.kind:
            case "kill" | "terminate":
                return system.end(target, kill=fault.kind == "kill")
            case "leave":
                return system.end(target, kill=False, restart_after=fault.seconds)
            case "join":
                system.add(target)
                leave = partial(system.end, target, kill=False, restart_after=None)
                return self._until(fault, leave)
            case "broker":
                return system.brokers.node(target).kill(fault.seconds)
            case "slow":
                disturbed = self._disturb(target, "delay", _SLOW_SECONDS)
                return disturbed and self._until(fault, lambda: self._disturb(target, "delay", 0.0))
            case "down":
                return self._disturb(target, "down", fault.seconds)
            case "pause":
                paused = system.suspend(target)
                return paused and self._until(fault, lambda: system.resume(target))
            case "cut" | "lag" | "half-open":
                self._break(fault)
                return self._until(fault, lambda: system.network.heal(target))

            case "clock":
                clock = system.clocks[target]
                clock.set(fault.amount)
                return self._until(fault, lambda: clock.set(0))

            case "disk":
                full = system.fill_disk(target)
                return full and self._until(fault, lambda: system.free_disk(target))
            case "roll":
                self._rolls.append(Roll(system, system.names()))
                return True

            case "poison":
                self._poison.write()
                return True

    def _break(self, fault: Fault) -> None:
        network = self._system.network
        if fault.kind == "cut":
            network.cut(fault.target)
        elif fault.kind == "lag":
            network.delay(fault.target, fault.amount)
        else:
            network.hold(fault.target)

    def _until(self, fault: Fault, end: Callable[[], object]) -> bool:
        self._ends.append((time.monotonic() + fault.seconds, end))
        return True

    def supervise(self) -> None:
        """End the faults that are due, and go on with rolling restarts."""
        for due in [end for end in self._ends if end[0] <= time.monotonic()]:
            self._ends.remove(due)
            due[1]()
        for roll in self._rolls:
            roll.supervise()

    def is_done(self) -> bool:
        is_over = not self._ends and all(roll.is_done for roll in self._rolls)
        return is_over and self._poison.is_written()

    def _disturb(self, provider: str, how: str, seconds: float) -> bool:
        """Make a simulated provider slow or unavailable. A killed sandbox forgets that."""
        url = f"{self._system.sandbox.base_url}/control/{how}"
        try:
            body = {"provider": provider, "seconds": seconds}
            answer = httpx.post(url, json=body, timeout=2.0, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.is_success
