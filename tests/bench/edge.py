"""The edge under load, and the same server without Kafka."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas.topics import all_topics
from streams.admin import topics
from streams.local.broker import Broker
from tests.bench.processes import RECEIVE, answer_of, cpu_seconds_of_all, environment
from tests.support.processes import PORT, running

_CONNECTIONS = (1, 8, 64)
_SERVERS = {
    "edge": RECEIVE,
    "edge, 2 processes": [*RECEIVE, "--processes", "2"],
    "ceiling": ["-m", "tests.bench.edge_ceiling"],
}


def measure(
    broker: Broker, folder: Path, seconds: float, say: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """Return answers/s, times and CPU µs a callback by number of connections, and the share of the
    ceiling, which has one process.
    """
    cluster = Cluster(broker.brokers, "edge.")
    topics.create(cluster, all_topics(PROVIDERS), partitions=8, replication=1)
    rates: dict[str, dict[int, Any]] = {}
    for name, argv in _SERVERS.items():
        settings = environment(cluster, folder / name)
        with running(argv, folder / name / "log", settings) as process:
            load = partial(_load, process.pid, settings[PORT])
            load(8, 1.0)
            rates[name] = {count: load(count, seconds) for count in _CONNECTIONS}
        say(f"{name}: {rates[name]}")
    ceiling = rates.pop("ceiling")
    return {
        f"{count}{name.removeprefix('edge')}": _beside(figures, ceiling[count])
        for name, measured in rates.items()
        for count, figures in measured.items()
    }


def _load(pid: int, port: str, connections: int, seconds: float) -> dict[str, float]:
    before = cpu_seconds_of_all(pid)
    figures: dict[str, float] = answer_of("tests.bench.load", port, connections, seconds)
    used = cpu_seconds_of_all(pid) - before
    callbacks = figures["callbacks_per_s"] * seconds
    return figures | {"cpu_us": round(used / callbacks * 1e6)}


def _beside(figures: dict[str, float], ceiling: dict[str, float]) -> dict[str, float]:
    rate = ceiling["callbacks_per_s"]
    of_ceiling = round(figures["callbacks_per_s"] / rate, 3)
    return figures | {
        "of_ceiling": of_ceiling,
        "ceiling_per_s": rate,
        "ceiling_cpu_us": ceiling["cpu_us"],
    }
