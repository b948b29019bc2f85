"""What happens to the workers and the cluster in a seed: faults by chance, and scenes."""

from random import Random

from tests.simulation.faults import (
    FIRST_AT,
    LAST_AT,
    OF_REQUESTS,
    OTHER_WORKER,
    WORKERS,
    Fault,
    Kind,
)
from tests.simulation.scenes import OF_TRANSACTION, scene
from tests.simulation.transactions import HANGING_SECONDS

# How often each kind comes.
_WEIGHTS: dict[Kind, int] = {
    "kill": 3,
    "end": 2,
    "replace": 3,
    "stop": 2,
    "stop at": 5,
    "slow": 2,
    "join": 2,
    "broker": 1,
    "no leader": 2,
    "registry": 1,
    "lose request": 3,
    "lose response": 4,
    "repeat": 3,
    "delay": 3,
    "kill at": 4,
    "kill after": 4,
    "late marker": 4,
    "compact": 2,
    "delete": 1,
}
# The requests that a fault of a request waits for.
_REQUESTS = (
    *("EndTxn", "EndTxn", "EndTxn", "TxnOffsetCommit"),
    *OF_TRANSACTION,
    *("Produce order-close", "Produce link-events", "InitProducerId"),
    *("OffsetFetch", "Fetch", "Fetch rows"),
    *("JoinGroup", "SyncGroup", "Heartbeat", "ListOffsets", "DescribeGroups"),
)
# Where a process that stands still becomes a zombie.
_STOPPED_AT = (
    *("EndTxn", "TxnOffsetCommit"),
    *OF_TRANSACTION,
    *("Fetch", "JoinGroup", "JoinGroup", "SyncGroup", "OffsetFetch"),
)
# What another worker does when a process goes on: steps of a take-over.
_GOES_ON_AT = ("", "", "JoinGroup", "OffsetFetch", "OffsetFetch", "InitProducerId", "Fetch rows")
# A marker of a transaction may be later than the engine waits for any transaction.
_MARKER_SECONDS = (0.3, 1.0, 3.0, 15.0, 45.0)
_MARKER_WEIGHTS = (4, 4, 4, 2, 1)
# How many seeds have a scene, then often with few other faults.
_SCENE_SHARE = 0.6
_FEW, _MOST = 2, 12


def faults_of(random: Random) -> list[Fault]:
    """Return the faults of a seed, in order."""
    kinds, weights = tuple(_WEIGHTS), tuple(_WEIGHTS.values())
    has_scene = random.random() < _SCENE_SHARE
    # Many others would only spoil a scene: they end its workers before.
    most = random.choice((_FEW, _MOST)) if has_scene else _MOST
    chosen = random.choices(kinds, weights, k=random.randint(0 if has_scene else 1, most))
    # Some come close together: each alone does little harm.
    centers = [random.uniform(FIRST_AT, LAST_AT) for _ in range(2)]
    faults = [_fault(kind, random, centers) for kind in chosen]
    faults += scene(random) if has_scene else []
    return sorted(faults, key=lambda fault: fault.at)


def _fault(kind: Kind, random: Random, centers: list[float]) -> Fault:
    at = random.uniform(FIRST_AT, LAST_AT)
    if random.random() < 0.5:
        at = random.choice(centers) + random.uniform(0, 2)
    target, request, seconds, until = random.choice(WORKERS), "", 0.0, ""
    match kind:
        case "kill" | "kill at" | "kill after" | "end" | "replace":
            seconds = random.choice((0.2, 1.0, 4.0, 9.0))
        case "stop" | "stop at":
            seconds = random.choice((0.5, 3.0, 7.0, 12.0, 25.0))
            until = random.choice(_GOES_ON_AT) if kind == "stop at" else ""
        case "no leader":
            # New topics, or a broker that takes the partitions over.
            at, target = (0.0 if random.random() < 0.5 else at), ""
            seconds = random.choice((0.1, 1.0, 3.0))
        case "slow":
            seconds = random.choice((2.0, 8.0))
        case "join":
            target, seconds = OTHER_WORKER, random.uniform(2, 15)
        case "registry":
            seconds = random.choice((0.3, 2.0))
        case "broker":
            target, seconds = "", random.choice((0.3, 2.0, 8.0, 20.0))
        case "late marker":
            target = random.choice(("group", "group", "link-status", "orders", "payments"))
            seconds = random.choices(_MARKER_SECONDS, _MARKER_WEIGHTS)[0]
            if target == "group" and random.random() < 0.15:
                seconds = 2 * HANGING_SECONDS
        case "delay":
            seconds = random.choice((0.2, 1.0, 5.0, 12.0))
        case "compact" | "delete":
            target = ""
    if kind in OF_REQUESTS:
        request = random.choice(_STOPPED_AT if kind == "stop at" else _REQUESTS)
    # What is printed repeats exactly.
    return Fault(round(at, 3), kind, target, request, round(seconds, 3), until)
