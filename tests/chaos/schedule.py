"""The faults of a seed, and when they happen: the same seed gives the same faults. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Literal

from connectors.providers.registry import PROVIDERS

WORKERS = ("work-0", "work-1")
EXTRA_WORKER = "work-2"
OTHERS = ("edge", "lookup", "settle", "notify", "board", "sandbox")
# The number of the broker follows.
BROKER = "broker-"

Kind = Literal["kill", "terminate", "leave", "join", "broker", "slow", "down", "pause"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, `at` seconds from the start. `seconds` is how long it lasts, where it does."""

    at: float
    kind: Kind
    target: str
    seconds: float = 0.0

    def __str__(self) -> str:
        duration = f" for {self.seconds:.0f} s" if self.seconds else ""
        return f"{self.kind} {self.target}{duration}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """New links come for `traffic` seconds."""

    traffic: float
    faults: tuple[Fault, ...]


def schedule(seed: int, short: bool = False, brokers: int = 1) -> Schedule:
    """Return the faults of a seed. In every fourth seed a broker is away for 30 s. With three
    brokers, each is killed once more, and two of them are away at the same time.
    """
    chance = Random(seed)
    if short:
        return Schedule(16.0, _sorted(_short(chance)))
    outage = seed % 4 == 0
    traffic = 70.0 if outage else 42.0
    faults = [*_ends(chance, traffic), *_pauses(chance, traffic, brokers)]
    if outage:
        faults.append(Fault(chance.uniform(18, 28), "broker", f"{BROKER}0", 30.0))
    if brokers > 1:
        faults += _of_replicas(chance, traffic, brokers)
    return Schedule(traffic, _sorted(faults))


def _short(chance: Random) -> list[Fault]:
    killed, stopped = chance.sample(WORKERS, 2)
    return [
        Fault(chance.uniform(2, 4), "kill", killed),
        Fault(chance.uniform(4, 6), "kill", "edge"),
        Fault(chance.uniform(6, 8), "broker", f"{BROKER}0", 3.0),
        Fault(chance.uniform(9, 11), "pause", stopped, 2.0),
        Fault(chance.uniform(13, 14), "terminate", stopped),
        Fault(chance.uniform(12, 14), "kill", chance.choice(OTHERS[1:])),
        Fault(chance.uniform(14, 16), "terminate", chance.choice(OTHERS)),
    ]


def _at(chance: Random, traffic: float) -> float:
    return chance.uniform(2.0, traffic - 2)


def _ends(chance: Random, traffic: float) -> list[Fault]:
    """Processes and a broker end, and come back. Providers are slow or away."""

    def at() -> float:
        return _at(chance, traffic)

    def end() -> Kind:
        return chance.choice(("kill", "kill", "terminate"))

    providers = sorted(PROVIDERS)
    return [
        Fault(chance.uniform(5, 14), "broker", f"{BROKER}0", 3.0),
        Fault(at(), "leave", chance.choice(WORKERS), chance.uniform(3, 8)),
        Fault(at(), "join", EXTRA_WORKER, chance.uniform(6, 15)),
        Fault(at(), "slow", chance.choice(providers), chance.uniform(3, 8)),
        Fault(at(), "down", chance.choice(providers), chance.uniform(3, 8)),
        *(Fault(at(), end(), chance.choice(WORKERS)) for _ in range(3)),
        *(Fault(at(), end(), chance.choice(OTHERS)) for _ in range(3)),
    ]


def _pauses(chance: Random, traffic: float, brokers: int) -> list[Fault]:
    """A worker stands still for longer than its session of 6 s, and comes back as a zombie. So
    does one of three brokers: it is out of sync then.
    """
    number, longest = chance.randrange(brokers), 12.0 if brokers > 1 else 5.0
    return [
        Fault(_at(chance, traffic), "pause", chance.choice(WORKERS), chance.uniform(7, 12)),
        Fault(_at(chance, traffic), "pause", f"{BROKER}{number}", chance.uniform(2, longest)),
        *(
            Fault(_at(chance, traffic), "pause", name, chance.uniform(2, 12))
            for name in chance.sample(OTHERS, 2)
        ),
    ]


def _of_replicas(chance: Random, traffic: float, brokers: int) -> list[Fault]:
    """Leaders end; then, in the last third, fewer brokers are in sync than a write needs."""
    first, second = chance.sample(range(brokers), 2)
    both_away = chance.uniform(traffic * 0.7, traffic - 2)
    return [
        *(
            Fault(chance.uniform(8, traffic * 0.6), "broker", f"{BROKER}{number}", 3.0)
            for number in range(brokers)
        ),
        Fault(both_away, "broker", f"{BROKER}{first}", 6.0),
        Fault(both_away + 0.5, "broker", f"{BROKER}{second}", 6.0),
    ]


def _sorted(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda fault: fault.at))
