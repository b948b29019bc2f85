"""One process of a group works, the others stand by.

The limits on what is asked of a provider, and a nonce that must grow from request to request, are
those of one process. So the member that joined first has all partitions; when it ends, or is
killed, the next one takes over where it was.
"""

import time
from collections.abc import Iterable, Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

_VERSION = 0


class FirstCome(AbstractPartitionAssignor):  # type: ignore[misc]
    """All partitions to the member that joined first, by the members' own clocks."""

    name = "first-come"

    def __init__(self) -> None:
        self._joined = b"%020d" % time.time_ns()

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Topics and partitions by member."""
        first = min(members, key=lambda member: (members[member].user_data, member))
        topics = sorted({topic for told in members.values() for topic in told.subscription})
        everything = [
            (topic, sorted(cluster.partitions_for_topic(topic) or ())) for topic in topics
        ]
        return {
            member: ConsumerProtocolMemberAssignment(
                _VERSION, everything if member == first else [], b""
            )
            for member in members
        }

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        return ConsumerProtocolMemberMetadata(_VERSION, list(topics), self._joined)

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Nothing to keep: who joined first stays first."""


def strategies() -> list[object]:
    """For a consumer of such a group, made when it joins. The second is that of releases before,
    beside whose processes all work until they are gone.
    """
    return [FirstCome(), RoundRobinPartitionAssignor]
