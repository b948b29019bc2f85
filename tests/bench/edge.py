"""The edge under load, beside the same server without Kafka."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from connectors.kafka import Cluster
from connectors.registry import PROVIDERS
from schemas.topics import all_topics
from streams import admin
from streams.embedded import Broker
from tests.bench.processes import answer_of, environment, serving

_CONNECTIONS = (1, 8, 64)
_SERVERS = {
    "edge": ["-m", "streams.cli", "receive"],
    "ceiling": ["-m", "tests.bench.edge_ceiling"],
}


def measure(
    broker: Broker, folder: Path, seconds: float, say: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """Answers per second and their times by number of connections, and the part of the ceiling."""
    cluster = Cluster(broker.brokers, "edge.")
    admin.create(cluster, all_topics(PROVIDERS), partitions=8, replication=1)
    found: dict[str, dict[int, Any]] = {}
    for name, argv in _SERVERS.items():
        told = environment(cluster, folder / name)
        with serving(argv, told, folder / name) as port:
            answer_of("tests.bench.load", port, 8, 1.0)
            found[name] = {
                count: answer_of("tests.bench.load", port, count, seconds) for count in _CONNECTIONS
            }
        say(f"{name}: {found[name]}")
    return {
        str(count): {
            **measured,
            "of_ceiling": round(
                measured["callbacks_per_s"] / found["ceiling"][count]["callbacks_per_s"], 3
            ),
            "ceiling_per_s": found["ceiling"][count]["callbacks_per_s"],
        }
        for count, measured in found["edge"].items()
    }
