"""The clients of a simulated process, in the place of confluent-kafka's and aiokafka's."""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from confluent_kafka import Consumer, Producer

from connectors.kafka.clients import Clients
from connectors.kafka.cluster import Cluster
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.consumer import SimulatedConsumer
from tests.simulation.direct_producer import DirectProducer
from tests.simulation.producer import SimulatedProducer
from tests.simulation.scheduler import Process

_SECONDS = 10.0


def cluster_of(kafka: SimulatedKafka, process: Process | None = None) -> Cluster:
    """Return the cluster as `process` reaches it. Without a process its readers and producers are
    outside of time.
    """

    def members(options: Mapping[str, Any], group: str) -> dict[str, str]:
        known = kafka.group(group).members

        def handle() -> dict[str, str]:
            return {member_id: member.client_id for member_id, member in known.items()}

        return kafka.network.call(process, "DescribeGroups", handle, _SECONDS)

    producer = partial(SimulatedProducer, process) if process else DirectProducer
    clients = Clients(
        consumer=cast("type[Consumer]", partial(SimulatedConsumer, process, kafka)),
        producer=cast("type[Producer]", partial(producer, kafka)),
        members=members,
        monotonic=lambda: kafka.scheduler.now,
    )
    return Cluster("simulated:9092", clients=clients)
