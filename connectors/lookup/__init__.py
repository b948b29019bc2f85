"""`linkstatus lookup`: asks the providers' APIs and publishes their answers as raw callbacks.

Each provider has its own consumer group, so that one that is down for an hour holds up no other.
"""

from collections.abc import Mapping

from starlette.applications import Starlette

from connectors.intake import Intake
from connectors.kafka import Cluster
from connectors.lookup.desk import Desk
from connectors.lookup.questions import Limits
from connectors.outward import http_client
from connectors.process import Address, http_server, probes, run
from connectors.provider import Provider
from connectors.publish import Publisher
from schemas.topics import LOOKUPS

__all__ = ["Limits", "run_lookup"]


async def run_lookup(
    cluster: Cluster, providers: Mapping[str, Provider], address: Address, limits: Limits
) -> None:
    """Asks and answers until it is told to end."""
    publisher = Publisher(cluster)
    async with http_client(limits.timeout) as client:
        names = frozenset(providers)
        desks = {
            name: Desk(provider, client, publisher, limits, names, strays=number == 0)
            for number, (name, provider) in enumerate(providers.items())
        }
        intakes = [
            Intake(cluster, f"lookup-{name}", [LOOKUPS.name], desk.take, desk.room)
            for name, desk in desks.items()
        ]

        def why_not_ready() -> str | None:
            consuming = all(intake.connected for intake in intakes)
            return publisher.why_not_ready() or (None if consuming else "no connection to Kafka")

        server = http_server(Starlette(routes=probes(why_not_ready)), address)
        services = [publisher.run, *(d.run for d in desks.values()), *(i.run for i in intakes)]
        await run(server, services)
