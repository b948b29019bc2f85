"""One process of a group works, the others stand by.

The call limits of a provider, and a nonce that must grow from request to request, hold within one
process. So the member that joined first gets all partitions; when it ends, or is killed, the next
one continues at the committed offsets.
"""

import time
from collections.abc import Iterable, Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

_VERSION = 0


class SingleActiveAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """All partitions to the member that joined first, by the members' own clocks.

    Each consumer needs its own instance, made when it joins.
    """

    name = "single-active"

    def __init__(self) -> None:
        self._joined = b"%020d" % time.time_ns()

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Return topics and partitions by member."""
        active = min(members, key=lambda member: (members[member].user_data, member))
        topics = sorted({topic for member in members.values() for topic in member.subscription})
        everything = [
            (topic, sorted(cluster.partitions_for_topic(topic) or ())) for topic in topics
        ]
        return {
            member: ConsumerProtocolMemberAssignment(
                _VERSION, everything if member == active else [], b""
            )
            for member in members
        }

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        return ConsumerProtocolMemberMetadata(_VERSION, list(topics), self._joined)

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Keep nothing: the member that joined first stays first."""
