"""What goes wrong when, by seed: the same seed gives the same faults. Pure."""

from dataclasses import dataclass
from random import Random
from typing import Literal

from connectors.registry import PROVIDERS

WORKERS = ("work-0", "work-1")
GUEST = "work-2"
OTHERS = ("edge", "lookup", "settle", "board", "sandbox")
BROKER = "broker"

Kind = Literal["kill", "terminate", "leave", "join", "broker", "slow", "down"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, `at` seconds from the start. `seconds` is how long it lasts, where it does."""

    at: float
    kind: Kind
    target: str
    seconds: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.0f} s" if self.seconds else ""
        return f"{self.kind} {self.target}{lasting}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """`traffic` is how many seconds new links keep coming."""

    traffic: float
    faults: tuple[Fault, ...]


def schedule(seed: int, short: bool = False) -> Schedule:
    """The faults of a seed. Every fourth one has the broker away for 30 s."""
    chance = Random(seed)
    if short:
        return Schedule(16.0, _sorted(_short(chance)))
    outage = seed % 4 == 0
    traffic = 70.0 if outage else 42.0
    faults = _common(chance, traffic)
    if outage:
        faults.append(Fault(chance.uniform(18, 28), "broker", BROKER, 30.0))
    return Schedule(traffic, _sorted(faults))


def _short(chance: Random) -> list[Fault]:
    killed, stopped = chance.sample(WORKERS, 2)
    return [
        Fault(chance.uniform(2, 4), "kill", killed),
        Fault(chance.uniform(4, 6), "kill", "edge"),
        Fault(chance.uniform(6, 8), "broker", BROKER, 3.0),
        Fault(chance.uniform(11, 13), "terminate", stopped),
        Fault(chance.uniform(12, 14), "kill", chance.choice(OTHERS[1:])),
        Fault(chance.uniform(14, 16), "terminate", chance.choice(OTHERS)),
    ]


def _common(chance: Random, traffic: float) -> list[Fault]:
    last = traffic - 2

    def at(first: float = 2.0) -> float:
        return chance.uniform(first, last)

    def end() -> Kind:
        return chance.choice(("kill", "kill", "terminate"))

    providers = sorted(PROVIDERS)
    return [
        Fault(chance.uniform(5, 14), "broker", BROKER, 3.0),
        Fault(at(), "leave", chance.choice(WORKERS), chance.uniform(3, 8)),
        Fault(at(), "join", GUEST, chance.uniform(6, 15)),
        Fault(at(), "slow", chance.choice(providers), chance.uniform(3, 8)),
        Fault(at(), "down", chance.choice(providers), chance.uniform(3, 8)),
        *(Fault(at(), end(), chance.choice(WORKERS)) for _ in range(4)),
        *(Fault(at(), end(), chance.choice(OTHERS)) for _ in range(4)),
    ]


def _sorted(faults: list[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda fault: fault.at))
