"""`linkstatus lookup`: asks the providers' APIs and publishes their answers as raw records.

Each account at a provider has its own consumer group, so that an outage of one delays no other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from connectors.http.client import http_client
from connectors.http.server import Address, run_with_probes
from connectors.kafka.cluster import Cluster
from connectors.kafka.publisher import Publisher
from connectors.kafka.task_consumer import TaskConsumer, Watch
from connectors.lookup.executor import LookupExecutor
from connectors.lookup.jobs import LookupLimits
from connectors.providers.base import Provider
from schemas.codec import Codecs
from schemas.limits import STALL_SECONDS
from schemas.topics import LOOKUPS


@dataclass(frozen=True, slots=True)
class LookupConfig:
    """The settings of the process. `providers` and `rates` are by the connection's name; a rate is
    a connection's own number of calls a second.
    """

    cluster: Cluster
    codecs: Codecs
    providers: Mapping[str, Provider]
    address: Address
    limits: LookupLimits
    stall_seconds: float = STALL_SECONDS
    rates: Mapping[str, float] = field(default_factory=dict)

    def limits_of(self, name: str) -> LookupLimits:
        return replace(self.limits, per_second=self.rates.get(name, self.limits.per_second))


async def run_lookup(config: LookupConfig) -> None:
    """Look links up until a signal ends the process."""
    publisher = Publisher(config.cluster)
    names = frozenset(config.providers)
    async with http_client(config.limits.timeout) as client:
        executors = {
            name: LookupExecutor(
                provider,
                client,
                publisher,
                config.codecs,
                config.limits_of(name),
                names,
                takes_unknown=number == 0,
            )
            for number, (name, provider) in enumerate(config.providers.items())
        }
        consumers = [
            TaskConsumer(
                config.cluster,
                f"lookup-{name}",
                [LOOKUPS.name],
                executor.handle,
                executor.capacity,
                executor.in_work,
            )
            for name, executor in executors.items()
        ]
        watch = Watch(config.cluster, consumers, publisher, config.stall_seconds)
        await run_with_probes(
            config.address,
            watch.why_not_ready,
            [
                publisher.run,
                watch.run,
                *(e.run for e in executors.values()),
                *(c.run for c in consumers),
            ],
        )
