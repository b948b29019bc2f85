"""One seed: the system, its traffic and its faults, then the verdict."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx

from streams.work import rules
from tests.chaos.evidence import gather, read_board
from tests.chaos.follower import Follower
from tests.chaos.gaps import Struck, longest_gaps
from tests.chaos.sandboxing import owed
from tests.chaos.schedule import WORKERS, Fault, Schedule, schedule
from tests.chaos.sender import Sender
from tests.chaos.system import System
from tests.chaos.verdict import Verdict, judge, unlike_plan

_TICK_SECONDS = 0.05
_SENDING_SECONDS = 240.0
_DRAINING_SECONDS = 120.0
_SETTLING_SECONDS = 30.0
# How far an order comes once it is closed: at Ping we close it, elsewhere nothing is to be done.
_CLOSED = defaultdict(lambda: {"CLOSE_DECIDED"}, {"ping": {"SETTLED"}})
# Slow enough to be felt, fast enough for an answer before the time-out.
_SLOW_SECONDS = 1.5


@dataclass(slots=True)
class Result:
    """What `latest.json` says of a seed. Times in seconds."""

    seed: int
    callbacks: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    retries: int = 0
    server_errors: int = 0
    links: int = 0
    dead_letters: int = 0
    faults: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong_rows: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    repeats: int = 0
    longest_gap: float = 0.0
    gaps: dict[str, float] = field(default_factory=dict)
    drained_after: float = 0.0
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not (self.lost or self.doubled or self.wrong_rows or self.hung)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def run_seed(
    seed: int,
    folder: Path,
    short: bool = False,
    say: Callable[[str], None] = lambda text: None,
    given: Schedule | None = None,
) -> Result:
    """Runs one seed in `folder`, which it leaves behind; with the `given` faults, not its own."""
    started = time.monotonic()
    # A dead broker recovers its partitions one by one: fewer of them for the short kind.
    system = System(folder, Random(f"supervisor {seed}"), partitions=4 if short else 8)
    try:
        system.start()
        say(f"seed {seed}: up after {time.monotonic() - started:.1f} s")
        result = _Run(seed, system, given or schedule(seed, short), say).run()
    finally:
        system.close()
    result.seconds = time.monotonic() - started
    return result


class _Run:
    def __init__(
        self, seed: int, system: System, faults: Schedule, say: Callable[[str], None]
    ) -> None:
        self._schedule = faults
        self._system = system
        self._say = say
        self._follower = Follower(system.cluster, system.partitions)
        self._sender = Sender(seed, self._schedule.traffic, system.sandbox, self._follower)
        self._struck: list[Struck] = []
        self._result = Result(seed)
        # Providers to be cured: when, and which.
        self._cures: list[tuple[float, str]] = []

    def run(self) -> Result:
        self._sender.start()
        self._until(lambda: self._sender.ready.is_set() or self._sender.done, _SENDING_SECONDS)
        self._strike_all()
        self._until(lambda: self._sender.done, _SENDING_SECONDS)
        if not self._sender.done:
            self._result.hung.append("callbacks are still not acknowledged")
        if self._sender.error is not None:
            raise self._sender.error
        self._result.hung += [f"{name} is not ready" for name in self._system.wait_ready(60.0)]
        verdict = self._drain()
        self._note(verdict)
        self._follower.close()
        self._system.stop()
        self._result.hung += self._system.hung
        self._result.ended += self._system.ended
        # The watchdog cures a stall by an exit with 1, and a stall is what must not be.
        stalls = {f"{worker} with 1" for worker in WORKERS}
        self._result.hung += [f"ended: {one}" for one in self._system.ended if one in stalls]
        return self._result

    def _until(self, condition: Callable[[], bool], seconds: float, pause: float = 0.0) -> bool:
        """Tends the system until the condition holds or the time is over; looks every `pause`."""
        deadline, looked_at = time.monotonic() + seconds, 0.0
        while True:
            now = time.monotonic()
            if now - looked_at >= pause:
                if condition():
                    return True
                looked_at = time.monotonic()
            if now > deadline:
                return False
            self._system.tend()
            self._cure()
            time.sleep(_TICK_SECONDS)

    def _strike_all(self) -> None:
        began = time.monotonic()
        for fault in self._schedule.faults:
            due = began + fault.at
            self._until(lambda due=due: time.monotonic() >= due, float("inf"))  # type: ignore[misc]
            if self._strike(fault):
                self._struck.append(Struck(time.time(), str(fault)))
                self._say(f"  {time.monotonic() - began:5.1f} s  {fault}")
        self._until(lambda: not self._cures and self._system.whole(), 60.0)

    def _strike(self, fault: Fault) -> bool:
        """False where the target is not there to be hit."""
        system = self._system
        match fault.kind:
            case "kill" | "terminate":
                return system.end(fault.target, kill=fault.kind == "kill")
            case "leave":
                return system.end(fault.target, kill=False, away=fault.seconds)
            case "join":
                system.invite(fault.target)
                self._cures.append((time.monotonic() + fault.seconds, fault.target))
                return True
            case "broker":
                return system.lose_broker(fault.seconds)
            case "slow":
                self._cures.append((time.monotonic() + fault.seconds, fault.target))
                return self._ail(fault.target, "delay", _SLOW_SECONDS)
            case "down":
                return self._ail(fault.target, "down", fault.seconds)

    def _cure(self) -> None:
        for due, target in [one for one in self._cures if one[0] <= time.monotonic()]:
            self._cures.remove((due, target))
            if target in self._system.members:
                self._system.end(target, kill=False, away=None)
            else:
                self._ail(target, "delay", 0.0)

    def _ail(self, provider: str, how: str, seconds: float) -> bool:
        """A dead sandbox is not slow either, and a new one is healthy."""
        url = f"{self._system.sandbox.base_url}/control/{how}"
        try:
            ailment = {"provider": provider, "seconds": seconds}
            answer = httpx.post(url, json=ailment, timeout=2.0, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.is_success

    def _drain(self) -> Verdict:
        """Waits until all is as it must be, or the time is over; then nothing may change."""
        started = time.monotonic()
        self._until(self._as_planned, _DRAINING_SECONDS, pause=0.5)
        self._result.drained_after = time.monotonic() - started
        # Polling never ends; without it nothing new comes in, and what is there must stay as it is.
        self._system.stop("lookup")
        self._until(lambda: self._judge().clean, _SETTLING_SECONDS, pause=1.0)
        self._system.stop("settle")
        return self._judge()

    def _as_planned(self) -> bool:
        """Whether all links and orders are known as they must be in the end."""
        folder, sender = self._system.folder, self._sender
        if owed(folder / "sandbox" / "sandbox.sqlite"):
            return False
        if any(unlike_plan(sender.expected, self._follower.rows)):
            return False
        orders = read_board(folder / "board.sqlite").orders
        states = {key: order["state"] for key, order in orders.items()}
        return all(
            states.get((order["provider"], order["order_id"])) in _CLOSED[order["provider"]]
            for order in sender.orders
            if order["closed_links"]
        )

    def _judge(self) -> Verdict:
        settings = self._system.settings()
        found = gather(self._system.cluster, self._system.folder)
        sender, providers = self._sender, settings.providers()
        known = rules(settings, providers)
        return judge(sender.ledger, sender.expected, sender.orders, found, providers, known)

    def _note(self, verdict: Verdict) -> None:
        ledger, result = self._sender.ledger, self._result
        result.callbacks = len(ledger.acknowledged) + len(ledger.registered)
        result.kinds, result.retries = ledger.kinds | {"forged": len(ledger.forged)}, ledger.retries
        result.server_errors = ledger.broken
        result.links, result.dead_letters = verdict.links, verdict.dead_letters
        result.lost, result.doubled = verdict.lost, verdict.doubled
        result.wrong_rows = verdict.wrong_rows + ledger.refused
        result.repeats = verdict.repeats
        result.faults = [fault.text for fault in self._struck]
        ended = self._sender.last_at
        gaps = longest_gaps(self._system.cluster, self._struck, self._sender.first_at, ended)
        for fault, gap in zip(self._struck, gaps, strict=True):
            result.gaps[fault.text] = max(round(gap, 2), result.gaps.get(fault.text, 0.0))
        result.longest_gap = max(result.gaps.values(), default=0.0)
