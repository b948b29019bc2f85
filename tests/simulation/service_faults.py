"""The faults of the services and of the providers' APIs."""

from collections.abc import Iterable, Iterator, Sequence
from random import Random

from connectors.providers.registry import PROVIDERS
from schemas.topics import LINKS, ORDER_UPDATES, callbacks
from tests.simulation.faults import FIRST_AT, LAST_AT, OF_REQUESTS, Fault, Kind
from tests.simulation.services import SERVICES

# How often each kind comes.
_WEIGHTS: dict[Kind, int] = {
    "kill": 3,
    "end": 2,
    "stop": 2,
    "kill at": 4,
    "kill after": 4,
    "stop at": 3,
    "lose request": 2,
    "lose response": 4,
    "repeat": 2,
    "delay": 2,
    "provider slow": 1,
    "provider late": 1,
    "provider down": 2,
    "provider limiting": 1,
    "provider broken": 1,
}
_MOST = 6
_OF_GROUP = ("JoinGroup", "SyncGroup", "Heartbeat", "OffsetFetch", "OffsetCommit", "OffsetCommit")
_ANSWERS = tuple(f"Produce {callbacks(name).name}" for name in PROVIDERS)
# The requests that a fault of a request waits for.
_REQUESTS = {
    "edge": (f"Produce {LINKS.name}", *_ANSWERS, *_ANSWERS, "InitProducerId", "Call truelayer"),
    "lookup": (
        *(f"Call {name}" for name in ("ping", "ping", "ipint", "peach", "truelayer")),
        *(*_ANSWERS, *_OF_GROUP, "Fetch"),
    ),
    "settle": (
        *("Call ping", "Call ping", *[f"Produce {ORDER_UPDATES.name}"] * 2),
        *(*_OF_GROUP, "Fetch"),
    ),
}


def service_faults_of(random: Random) -> list[Fault]:
    """Return the faults of a seed."""
    kinds, weights = tuple(_WEIGHTS), tuple(_WEIGHTS.values())
    return [
        _fault(kind, random) for kind in random.choices(kinds, weights, k=random.randint(0, _MOST))
    ]


def _fault(kind: Kind, random: Random) -> Fault:
    at, target, request = random.uniform(FIRST_AT, LAST_AT), random.choice(SERVICES), ""
    if kind.startswith("provider"):
        target = random.choice(("ping", "ping", *PROVIDERS))
    elif kind in OF_REQUESTS:
        request = random.choice(_REQUESTS[target])
    seconds = 0.0
    match kind:
        case "kill" | "kill at" | "kill after" | "end":
            seconds = random.choice((0.2, 1.0, 4.0))
        case "stop" | "stop at":
            seconds = random.choice((0.5, 3.0, 7.0, 12.0))
        case "delay":
            seconds = random.choice((0.2, 1.0, 5.0, 12.0))
        case _ if kind.startswith("provider"):
            seconds = random.choice((2.0, 8.0, 20.0))
    # What is printed repeats exactly.
    return Fault(round(at, 3), kind, target, request, round(seconds, 3))


def mood(faults: Sequence[Fault], provider: str, now: float) -> str | None:
    """Return how a fault lets the provider answer now (seconds)."""
    for fault in faults:
        if fault.target == provider and fault.at <= now < fault.at + fault.seconds:
            return fault.kind.removeprefix("provider ")
    return None


def stalls(faults: Iterable[Fault], stalled: Iterable[str]) -> Iterator[str]:
    """Yield processes that ended for want of progress without a cause. A commit that arrives late,
    behind a newer one, moves a group back, and only a restart mends that.
    """
    moved = {fault.target for fault in faults if fault.request == "OffsetCommit"}
    yield from (f"{name} stalled" for name in stalled if name not in moved)
