"""Rounds of generated requests and records, each followed by questions about the inside."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from statistics import median

from connectors.http.server import Address
from connectors.kafka.cluster import Cluster
from connectors.sandbox.config import SandboxConfig, load_secrets
from tests.e2e.system import System
from tests.fuzz.drawing import examples
from tests.fuzz.inside import HONEST, Honest, Kept, Sameness, page_problems
from tests.fuzz.records import PARTITIONS, Batch, batches
from tests.fuzz.requests import FIXED, exchanges
from tests.fuzz.traffic import Ledger, send
from tests.support import record_batches
from tests.support.groups import await_groups
from tests.support.sandboxing import Providers
from tests.support.wire import Wire

CONNECTIONS_IN_ROUND = 300
BATCHES_IN_ROUND = 60


@dataclass(slots=True)
class Result:
    """What a run has sent and found."""

    rounds: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    kept: int = 0
    batches: int = 0
    # Seconds from an honest callback to its row.
    honest: list[float] = field(default_factory=list)
    # Seconds from an honest payment through all processes to its settlement.
    settled: list[float] = field(default_factory=list)
    # The largest growth since the end of the first round in MiB, by process.
    growth: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Run:
    """One system under one seed. Round n of a seed is always the same."""

    def __init__(self, system: System, cluster: Cluster, seed: int) -> None:
        self.result = Result()
        self._system, self._cluster, self._seed = system, cluster, seed
        settings = system.environment
        self._wires = {
            name: Wire(int(url.rpartition(":")[2]))
            for name, url in json.loads(settings["LINKSTATUS_BOARD__PROCESSES"]).items()
        }
        self._sandbox = SandboxConfig(
            address=Address("127.0.0.1", int(settings["LINKSTATUS_SANDBOX__PORT"])),
            data_dir=system.data,
            edge_url=system.url,
            secrets=load_secrets(system.data),
        )
        self._honest = Honest(cluster, self._sandbox)
        self._providers = Providers(system)

    def rounds(self, seconds: float, log: Callable[[str], None]) -> Result:
        """Run at least two rounds, and as many as start within so many seconds."""
        deadline = time.monotonic() + seconds
        self._providers.settle_one(f"{HONEST}-{self._seed}")
        with contextlib.ExitStack() as stack:
            kept = stack.enter_context(contextlib.closing(Kept(self._cluster)))
            self._round(kept)
            # The first round fills caches and loads code.
            sameness = Sameness(self._system)
            while self.result.rounds < 2 or time.monotonic() < deadline:
                self._round(kept)
                self.result.problems += sameness.problems()
                self.result.growth = sameness.growth(self.result.growth)
                log(self._line())
        await_groups(self._cluster)
        self.result.problems += sameness.problems()
        return self.result

    def _line(self) -> str:
        result, honest = self.result, self.result.honest
        return (
            f"seed {self._seed}, round {result.rounds}: {sum(result.statuses.values())} requests, "
            f"{result.kept} kept, {result.batches} batches; honest callbacks {median(honest):.2f} "
            f"s, {max(honest):.2f} s at most; settled {max(result.settled):.1f} s at most; memory "
            f"+{max(result.growth.values(), default=0):.0f} MiB; {len(result.problems)} problems"
        )

    def _round(self, kept: Kept) -> None:
        lot = f"{self._seed}-{self.result.rounds}"
        requests = [*FIXED, *examples(exchanges(), CONNECTIONS_IN_ROUND, lot)]
        records = examples(batches(), BATCHES_IN_ROUND, lot)
        ledger = Ledger()
        with ThreadPoolExecutor(2) as pool:
            sending = [
                pool.submit(asyncio.run, send(self._wires, requests, self._sandbox, ledger)),
                pool.submit(self._write, records),
            ]
            numbers = cycle(range(PARTITIONS))
            while not all(each.done() for each in sending):
                self.result.honest.append(self._honest.pass_one(next(numbers)))
            for each in sending:
                each.result()
        for number in range(PARTITIONS):
            self.result.honest.append(self._honest.pass_one(number))
        self.result.settled.append(self._providers.settle_one(f"{HONEST}-{lot}"))
        self.result.rounds += 1
        self.result.statuses += ledger.statuses
        self.result.kept += ledger.promised.total()
        self.result.batches += len(records)
        self.result.problems += [
            *ledger.problems,
            *kept.problems(ledger),
            *page_problems(self._system),
        ]

    def _write(self, records: Sequence[Batch]) -> None:
        for topic, partition, _, data in records:
            # The broker has checks of its own.
            with contextlib.suppress(record_batches.Refused):
                record_batches.write(self._cluster, topic, partition, data)
