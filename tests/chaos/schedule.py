"""The faults of a seed, and when they happen: the same seed gives the same faults. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from connectors.providers.registry import PROVIDERS

WORKERS = ("work-0", "work-1")
EXTRA_WORKER = "work-2"
OTHERS = ("edge", "lookup", "settle", "notify", "board", "sandbox")
# The number of the broker follows.
BROKER = "broker-"

# Links of the network, "client>server". Every client of Kafka has one to each broker.
CLIENTS = (*WORKERS, EXTRA_WORKER, "edge", "lookup", "settle", "notify", "board")
# Processes whose clock jumps. Receivers of webhooks refuse those of a wrong clock.
CLOCKS = (*WORKERS, "edge", "lookup", "settle", "board")
DISKS = (*WORKERS, "sandbox", "board")
CALLBACKS = "internet>edge"
DATABASE = "board>database"
HTTP_LINKS = (CALLBACKS, "lookup>providers", "settle>providers", "notify>receiver")

End = Literal["kill", "terminate"]
Kind = (
    End
    | Literal["leave", "join", "broker", "slow", "down"]
    | Literal["pause", "cut", "lag", "half-open", "clock", "disk", "roll", "poison"]
)


# The time after a fault until all works again, if that is long.
_RECOVERY_SECONDS = {"broker": 14.0, "disk": 14.0, "roll": 35.0, "poison": 2.0}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, `at` seconds from the start. `seconds` is how long it lasts, where it does.
    `amount` is the delay of a link that lags, or the offset of a clock from the real time.
    """

    at: float
    kind: Kind
    target: str
    seconds: float = 0.0
    amount: float = 0.0

    def __str__(self) -> str:
        duration = f" for {self.seconds:.0f} s" if self.seconds else ""
        amount = f" by {self.amount:.1f} s" if self.amount else ""
        return f"{self.kind} {self.target}{amount}{duration}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """New links come for `traffic` seconds. The board's database is PostgreSQL, else SQLite."""

    traffic: float
    faults: tuple[Fault, ...]
    postgres: bool = False

    def targets(self, kind: Kind) -> set[str]:
        return {fault.target for fault in self.faults if fault.kind == kind}


def schedule(seed: int, short: bool = False, brokers: int = 1) -> Schedule:
    """Return the faults of a seed. In every fourth seed a broker is away for 30 s, in every fifth
    all processes restart one after the other. With three brokers, each is killed once more, and two
    of them are away at the same time.
    """
    chance = Random(seed)
    if short:
        return Schedule(16.0, _sorted(_short(chance)))
    outage, roll = seed % 4 == 0, seed % 5 == 2
    traffic = 70.0 if outage or roll else 42.0
    postgres = seed % 2 == 0
    faults = [
        *_ends(chance, traffic),
        *_pauses(chance, traffic, brokers),
        *_of_network(chance, traffic, brokers, postgres),
        *(_clocks(chance, traffic) if seed % 5 in (0, 1, 3) else ()),
        *(_disks(chance, traffic, brokers, postgres) if seed % 5 in (1, 2, 4) else ()),
    ]
    faults += [Fault(_at(chance, traffic), "poison", "links") for _ in range(2)]
    if roll:
        faults.append(Fault(chance.uniform(5, 15), "roll", "everything"))
    if outage:
        faults.append(Fault(chance.uniform(18, 28), "broker", f"{BROKER}0", 30.0))
    if brokers > 1:
        faults += _of_replicas(chance, traffic, brokers)
    return Schedule(traffic, _sorted(faults), postgres)


def apart(seed: int, brokers: int = 1) -> Schedule:
    """Return faults of every kind, each once the one before is over: what stands still then does so
    because of this one.
    """
    chance = Random(f"apart {seed}")
    faults = [
        *_ends(chance, 60.0),
        *_pauses(chance, 60.0, brokers),
        *_of_network(chance, 60.0, brokers, postgres=False),
        *_clocks(chance, 60.0),
        *_disks(chance, 60.0, brokers, postgres=False),
        Fault(0.0, "poison", "links"),
        Fault(0.0, "roll", "everything"),
    ]
    chosen = [*_first(faults, 1)]
    chance.shuffle(chosen)
    at, placed = 5.0, []
    for fault in chosen:
        placed.append(replace(fault, at=at))
        at += fault.seconds + _RECOVERY_SECONDS.get(fault.kind, 6.0)
    return Schedule(at, tuple(placed))


def _first(faults: Iterable[Fault], most: int) -> Iterator[Fault]:
    """Yield the first faults of each kind."""
    counts: Counter[Kind] = Counter()
    for fault in faults:
        counts[fault.kind] += 1
        if counts[fault.kind] <= most:
            yield fault


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

    def end() -> End:
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


def _of_network(chance: Random, traffic: float, brokers: int, postgres: bool) -> list[Fault]:
    """Links between processes break, one to a broker, one to another server, and any one."""
    kafka = [f"{client}>{BROKER}{n}" for client in CLIENTS for n in range(brokers)]
    http = [*HTTP_LINKS, *([DATABASE] if postgres else [])]
    targets = [chance.choice(kafka), chance.choice(http), chance.choice(kafka + http)]
    chance.shuffle(targets)
    cut, lagging, half_open = targets
    delay = chance.uniform(0.2, 2.0)
    return [
        Fault(_at(chance, traffic), "cut", cut, chance.uniform(0.1, 3)),
        Fault(_at(chance, traffic), "lag", lagging, chance.uniform(3, 8), delay),
        Fault(_at(chance, traffic), "half-open", half_open, chance.uniform(3, 10)),
    ]


def _clocks(chance: Random, traffic: float) -> list[Fault]:
    """Clocks are wrong by up to an hour, one of them ahead and one behind. Kafka refuses records
    that are ahead by more.
    """
    return [
        Fault(_at(chance, traffic), "clock", name, chance.uniform(4, 12), sign * _jump(chance))
        for name, sign in zip(chance.sample(CLOCKS, 2), (-1, 1), strict=True)
    ]


def _disks(chance: Random, traffic: float, brokers: int, postgres: bool) -> list[Fault]:
    """The disk of a broker or of a process is full. PostgreSQL stands for the board's disk."""
    number, count = chance.randrange(brokers), len(DISKS) - postgres
    return [
        Fault(_at(chance, traffic), "disk", f"{BROKER}{number}", chance.uniform(2, 5)),
        Fault(_at(chance, traffic), "disk", chance.choice(DISKS[:count]), chance.uniform(3, 8)),
    ]


def _jump(chance: Random) -> float:
    return chance.choice((chance.uniform(2, 60), chance.uniform(60, 3500)))


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
