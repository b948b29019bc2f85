"""One seed: the system, its traffic and its faults, then the verdict."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from streams.worker import rules
from tests.chaos.evidence import Evidence, gather, read_board
from tests.chaos.follower import Follower
from tests.chaos.gaps import InjectedFault, Standstills, by_kind, gaps
from tests.chaos.history import history
from tests.chaos.injector import Injector
from tests.chaos.problems import Problems
from tests.chaos.sandbox import count_undelivered
from tests.chaos.schedule import WORKERS, Schedule, schedule
from tests.chaos.sender import Sender
from tests.chaos.system import System
from tests.chaos.verdict import differences_from_plan, judge
from tests.checker import history as histories
from tests.checker.check import check
from tests.checker.record import write

_TICK_SECONDS = 0.05
_SENDING_SECONDS = 240.0
_DRAINING_SECONDS = 120.0
# The judge takes the processor from the receiver of webhooks.
_SETTLING_SECONDS = 90.0

Log = Callable[[str], None]


@dataclass(slots=True)
class Result:
    """What `latest.json` tells about a seed. Times in seconds."""

    seed: int
    callbacks: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    retries: int = 0
    server_errors: int = 0
    links: int = 0
    dead_letters: int = 0
    # Events that the receiver accepted, and attempts that it refused or answered late.
    webhooks: int = 0
    disturbed: int = 0
    faults: list[str] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)
    # Unexpected exits.
    exits: list[str] = field(default_factory=list)
    longest_gap: float = 0.0
    gaps: dict[str, float] = field(default_factory=dict)
    standstills: Standstills = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    drained_after: float = 0.0
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not self.problems.found()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def run_seed(
    seed: int,
    folder: Path,
    short: bool = False,
    log: Log = lambda text: None,
    faults: Schedule | None = None,
    brokers: int = 1,
) -> Result:
    """Run one seed in `folder`, and leave its files there. `faults` replaces the seed's faults.
    `brokers` is 1, or 3 that replicate.
    """
    started = time.monotonic()
    # A killed broker recovers its partitions one by one: a short seed has fewer of them.
    partitions = 4 if short else 8
    chosen = faults or schedule(seed, short, brokers)
    system = System(
        folder,
        Random(f"supervisor {seed}"),
        partitions,
        brokers,
        chosen.postgres,
        chosen.targets("clock"),
    )
    try:
        system.start()
        log(f"seed {seed}: up after {time.monotonic() - started:.1f} s")
        result = _Run(seed, system, chosen, log).run()
    finally:
        system.close()
    result.seconds = time.monotonic() - started
    return result


class _Run:
    def __init__(self, seed: int, system: System, faults: Schedule, log: Log) -> None:
        self._schedule = faults
        self._system = system
        self._log = log
        self._follower = Follower(system.cluster, system.partitions)
        self._sender = Sender(seed, faults.traffic, system.sandbox, self._follower)
        self._injected: list[InjectedFault] = []
        self._result = Result(seed)
        self._injector = Injector(system)

    def run(self) -> Result:
        hung = [*self._send_all(), *self._not_ready()]
        evidence, problems = self._drain()
        self._check(evidence, problems)
        self._report(evidence, problems)
        self._follower.close()
        self._system.stop()
        # The watchdog ends a stall with exit code 1, and no stall must happen.
        stalls = {f"{worker} with 1" for worker in WORKERS}
        self._result.exits += self._system.exits
        hung += [f"exit: {text}" for text in self._system.exits if text in stalls]
        problems.hung += [*hung, *self._system.hung]
        return self._result

    def _send_all(self) -> list[str]:
        """Send all callbacks while the faults happen. Return what hangs."""
        sender = self._sender
        sender.start()
        self._until(lambda: sender.ready.is_set() or sender.done, _SENDING_SECONDS)
        self._inject_all()
        self._until(lambda: sender.done, _SENDING_SECONDS)
        if sender.error is not None:
            raise sender.error
        return [] if sender.done else ["callbacks are still not acknowledged"]

    def _not_ready(self) -> list[str]:
        return [f"{name} is not ready" for name in self._system.wait_ready(60.0)]

    def _until(self, condition: Callable[[], bool], seconds: float, pause: float = 0.0) -> None:
        """Supervise until the condition holds or the time is over; check it every `pause`."""
        deadline, checked_at = time.monotonic() + seconds, 0.0
        while (now := time.monotonic()) <= deadline:
            if now - checked_at >= pause:
                if condition():
                    return
                checked_at = time.monotonic()
            self._system.supervise()
            self._injector.supervise()
            time.sleep(_TICK_SECONDS)

    def _inject_all(self) -> None:
        started = time.monotonic()
        for fault in self._schedule.faults:
            due = started + fault.at
            self._until(lambda due=due: time.monotonic() >= due, float("inf"))  # type: ignore[misc]
            if self._injector.inject(fault):
                self._injected.append(InjectedFault(time.time(), fault))
                self._log(f"  {time.monotonic() - started:5.1f} s  {fault}")
        self._until(lambda: self._injector.is_done() and self._system.is_complete(), 60.0)

    def _drain(self) -> tuple[Evidence, Problems]:
        """Wait until all is as it must be, or the time is over. Then nothing may change."""
        started = time.monotonic()
        self._until(self._is_as_planned, _DRAINING_SECONDS, pause=0.5)
        self._result.drained_after = time.monotonic() - started
        # Polling never ends. Without it nothing new comes in.
        self._system.stop("lookup")
        self._until(lambda: not self._judge()[1].found(), _SETTLING_SECONDS, pause=5.0)
        self._system.stop("settle", "notify")
        return self._judge()

    def _is_as_planned(self) -> bool:
        """Whether all links and orders have reached their planned ends."""
        folder, sender = self._system.folder, self._sender
        if count_undelivered(folder / "sandbox" / "sandbox.sqlite"):
            return False
        if any(differences_from_plan(sender.expected, self._follower.rows)):
            return False
        orders = read_board(self._system.database).orders
        # We close orders at Ping. Other providers need nothing after the decision.
        return all(
            orders.get((order["provider"], order["order_id"]), {}).get("state")
            == ("SETTLED" if order["provider"] == "ping" else "CLOSE_DECIDED")
            for order in sender.orders
            if order["closed_links"]
        )

    def _judge(self) -> tuple[Evidence, Problems]:
        settings = self._system.settings()
        evidence = gather(self._system.cluster, self._system.folder, self._system.database)
        sender, providers = self._sender, settings.existing_providers()
        provider_rules = rules(settings, providers)
        problems = judge(
            sender.ledger, sender.expected, sender.orders, evidence, providers, provider_rules
        )
        self._system.receiver.check(problems, evidence)
        return evidence, problems

    def _check(self, evidence: Evidence, problems: Problems) -> None:
        """Write the history, and let the checker judge it."""
        system, path = self._system, self._system.folder / "history.jsonl"
        accepted = system.receiver.accepted
        with path.open("w") as file:
            known = self._sender.ledger, evidence, self._follower, accepted
            write(history(system.cluster, *known), file)
        with path.open() as file:
            problems.add(check(histories.read(file)))

    def _report(self, evidence: Evidence, problems: Problems) -> None:
        sender, result = self._sender, self._result
        ledger = sender.ledger
        result.callbacks = len(ledger.acknowledged) + len(ledger.registered)
        result.kinds = {**ledger.kinds, "forged": len(ledger.forged)}
        result.retries, result.server_errors = ledger.retries, ledger.server_errors
        result.links, result.dead_letters = len(evidence.rows), len(evidence.dead_letters)
        receiver = self._system.receiver
        result.webhooks, result.disturbed = len(receiver.accepted), receiver.disturbed
        problems.wrong += ledger.wrong_answers
        result.problems = problems
        self._measure()

    def _measure(self) -> None:
        """Note the faults, and how long partitions stood still after them."""
        result, sender = self._result, self._sender
        faults = [injected.fault for injected in self._injected]
        result.faults = [str(fault) for fault in faults]
        result.counts = dict(Counter(fault.kind for fault in faults))
        arrivals = self._follower.arrivals
        found = [*gaps(arrivals, self._injected, sender.first_at, sender.last_at)]
        for gap in found:
            result.gaps[str(gap.fault)] = max(gap.seconds, result.gaps.get(str(gap.fault), 0.0))
        result.standstills = by_kind(found)
        result.longest_gap = max(result.gaps.values(), default=0.0)
