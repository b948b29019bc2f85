"""What librdkafka does in the background for a member of a group: join, sync, heartbeat."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from confluent_kafka import KafkaError

from tests.simulation.cluster import SimulatedKafka
from tests.simulation.groups import Joined, Partition
from tests.simulation.network import Refused, Reply, replying
from tests.simulation.scheduler import Process

_HEARTBEAT_SECONDS = 0.2
_RETRY_SECONDS = 0.05


class Event(NamedTuple):
    """A rebalance that `consume` passes to a callback."""

    kind: Literal["assign", "revoke", "lost"]
    partitions: list[Partition]


class Membership:
    """`events` gets what happens, and `notify` is called then."""

    def __init__(
        self,
        process: Process,
        kafka: SimulatedKafka,
        settings: Mapping[str, Any],
        topics: tuple[str, ...],
        notify: Callable[[], None],
    ) -> None:
        self.events: deque[Event] = deque()
        self.member_id = ""
        self.generation = -1
        self.assigned: list[Partition] | None = None
        self._process, self._kafka, self._notify = process, kafka, notify
        self._group, self._client_id = settings["group.id"], settings.get("client.id", "rdkafka")
        self._session = settings.get("session.timeout.ms", 45_000) / 1000
        self._topics = topics
        self._is_open = True
        self._is_joining = self._is_lost = False
        kafka.open_members.add(self._client_id)
        # Counts joins, so that the answer to an earlier one has no effect.
        self._attempt = 0
        self._heard_at = process.scheduler.now
        self.join()
        process.later(_HEARTBEAT_SECONDS, self._beat)

    def _send(
        self,
        kind: str,
        handle: Callable[[Reply], None],
        receive: Callable[[Any], None],
        again: bool = False,
    ) -> None:
        self._kafka.network.send(self._process, kind, handle, receive, again)

    def join(self) -> None:
        """Join, or join again after a revocation."""
        self.assigned, self._is_lost = None, False
        if not self._is_open:
            return
        self._attempt += 1
        self._is_joining = True
        attempt, group = self._attempt, self._kafka.group(self._group)

        def handle(reply: Reply) -> None:
            group.join(self.member_id, self._client_id, self._topics, self._session, reply)

        def receive(answer: Joined | Refused) -> None:
            if attempt != self._attempt or not self._is_open:
                return
            self._heard()
            if isinstance(answer, Refused):
                return self._join_later()
            self.member_id, self.generation = answer.member_id, answer.generation
            return self._sync(attempt, self._assign(answer.topics) if answer.topics else None)

        self._send("JoinGroup", handle, receive, again=True)

    def _assign(self, topics: Mapping[str, tuple[str, ...]]) -> dict[str, list[Partition]]:
        """Return what the assignor `range` gives each member."""
        result: dict[str, list[Partition]] = {member: [] for member in topics}
        for topic in sorted({one for each in topics.values() for one in each}):
            members = sorted(member for member, each in topics.items() if topic in each)
            partitions = len(self._kafka.topics.get(topic, []))
            each, more = divmod(partitions, len(members))
            first = 0
            for place, member in enumerate(members):
                end = first + each + (place < more)
                result[member] += [(topic, number) for number in range(first, end)]
                first = end
        return result

    def _sync(self, attempt: int, assignment: dict[str, list[Partition]] | None) -> None:
        group, generation = self._kafka.group(self._group), self.generation

        def handle(reply: Reply) -> None:
            group.sync(self.member_id, generation, assignment, reply)

        def receive(answer: list[Partition] | Refused) -> None:
            if attempt != self._attempt or not self._is_open:
                return
            self._heard()
            if isinstance(answer, Refused):
                return self._join_later(answer.code)
            self.assigned, self._is_joining = answer, False
            return self._push(Event("assign", answer))

        self._send("SyncGroup", handle, receive, again=True)

    def _join_later(self, code: int = KafkaError.UNKNOWN_MEMBER_ID) -> None:
        if code == KafkaError.UNKNOWN_MEMBER_ID:
            self.member_id = ""
        self._process.later(_RETRY_SECONDS, self.join)

    def _beat(self) -> None:
        if not self._is_open:
            return
        self._process.later(_HEARTBEAT_SECONDS, self._beat)
        if self._is_joining or self._is_lost:
            return
        # Also while the application has not given up what is revoked.
        if self._process.scheduler.now - self._heard_at > self._session:
            return self._lose(KafkaError.UNKNOWN_MEMBER_ID)
        group, generation, attempt = self._kafka.group(self._group), self.generation, self._attempt

        def receive(answer: Refused | None) -> None:
            if attempt != self._attempt or self._is_joining or not self._is_open:
                return
            self._heard()
            if answer is None or self._is_lost:
                return
            if answer.code == KafkaError.REBALANCE_IN_PROGRESS:
                if self.assigned is None:
                    return
                partitions, self.assigned = self.assigned, None
                self._push(Event("revoke", partitions))
            else:
                self._lose(answer.code)

        handle = replying(lambda: group.heartbeat(self.member_id, generation))
        self._send("Heartbeat", handle, receive)

    def _heard(self) -> None:
        self._heard_at = self._process.scheduler.now

    def _lose(self, code: int) -> None:
        """Forget what the code says is wrong, and nothing else: Kafka checks an offset of an empty
        id, or of generation -1, but not of both.
        """
        partitions, self.assigned, self._is_lost = self.assigned or [], None, True
        if code == KafkaError.UNKNOWN_MEMBER_ID:
            self.member_id = ""
        else:
            self.generation = -1
        self._heard()
        self._push(Event("lost", partitions))

    def _push(self, event: Event) -> None:
        self.events.append(event)
        self._notify()

    def leave(self) -> None:
        """Leave the group, without waiting for an answer."""
        if self._is_open:
            self._is_open = False
            self._kafka.open_members.discard(self._client_id)
            member_id, group = self.member_id, self._kafka.group(self._group)
            if member_id:
                self._send("LeaveGroup", replying(lambda: group.leave(member_id)), lambda _: None)
