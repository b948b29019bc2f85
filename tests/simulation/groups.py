"""The group coordinator: members, generations, offsets, and offsets of open transactions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from confluent_kafka import KafkaError

from tests.simulation.network import Refused, Reply
from tests.simulation.scheduler import Scheduler

Partition = tuple[str, int]


class Committed(NamedTuple):
    """Of two offsets that with the later `number` counts, whenever their markers come."""

    offset: int
    metadata: str | None
    number: int = 0


class Joined(NamedTuple):
    """The answer to a join. Only the leader learns what all members wrote of their topics."""

    member_id: str
    generation: int
    topics: Mapping[str, Any]


@dataclass(slots=True)
class Member:
    client_id: str
    topics: Any
    session: float
    # Whose reply is due: to the join in a rebalance, to the sync until the leader has assigned.
    join: Reply | None = None
    sync: Reply | None = None
    deadline: float = 0.0


@dataclass(slots=True)
class Group:
    """A classic consumer group. All partitions of its rebalances are eager: see `consumer`."""

    name: str
    scheduler: Scheduler
    members: dict[str, Member] = field(default_factory=dict)
    generation: int = 0
    leader: str = ""
    # Between the first join of a rebalance and its last one; then until the leader's sync.
    is_joining: bool = False
    assignment: Mapping[str, Any] | None = None
    committed: dict[Partition, Committed] = field(default_factory=dict)
    # By the producer whose transaction is open.
    pending: dict[int, dict[Partition, Committed]] = field(default_factory=dict)
    _epochs: dict[int, int] = field(default_factory=dict)
    _number: int = 0
    # Ids of members that have not joined yet.
    _given: set[str] = field(default_factory=set)

    def new_member_id(self, client_id: str) -> str:
        self._number += 1
        member_id = f"{client_id}-{self._number:04}"
        self._given.add(member_id)
        return member_id

    def join(
        self, member_id: str, client_id: str, topics: Any, session: float, reply: Reply
    ) -> None:
        member_id = member_id or self.new_member_id(client_id)
        if member_id in self._given:
            self._given.discard(member_id)
            self.members[member_id] = Member(client_id, topics, session)
        if member_id not in self.members:
            return reply(Refused(KafkaError.UNKNOWN_MEMBER_ID))
        member = self.members[member_id]
        member.join, member.sync, member.topics = reply, None, topics
        self._touch(member_id)
        return self._rebalance()

    def _rebalance(self) -> None:
        """Wait for the joins of all members. Those that wait for their assignment join again."""
        self.is_joining = True
        for member_id in self.members:
            self._answer_sync(member_id, Refused(KafkaError.REBALANCE_IN_PROGRESS))
        self._complete_join()

    def _answer_sync(self, member_id: str, answer: Any) -> None:
        """Answer the member, if it waits. Its session begins again: it sent no heartbeats."""
        member = self.members[member_id]
        reply, member.sync = member.sync, None
        if reply is not None:
            self._touch(member_id)
            reply(answer)

    def _complete_join(self) -> None:
        if any(member.join is None for member in self.members.values()):
            return
        self.is_joining, self.assignment = False, None
        self.generation += 1
        if self.leader not in self.members:
            self.leader = next(iter(self.members))
        self.scheduler.note(f"generation {self.generation} of {', '.join(self.members)}")
        topics = {member_id: member.topics for member_id, member in self.members.items()}
        for member_id, member in self.members.items():
            reply, member.join = member.join, None
            self._touch(member_id)
            if reply is not None:
                known = topics if member_id == self.leader else {}
                reply(Joined(member_id, self.generation, known))

    def sync(
        self,
        member_id: str,
        generation: int,
        assignment: Mapping[str, Any] | None,
        reply: Reply,
    ) -> None:
        try:
            self._check(member_id, generation)
        except Refused as refusal:
            return reply(refusal)
        if self.is_joining:
            return reply(Refused(KafkaError.REBALANCE_IN_PROGRESS))
        self.members[member_id].sync = reply
        if assignment is not None and self.assignment is None:
            self.assignment = assignment
        if self.assignment is not None:
            for one in self.members:
                self._answer_sync(one, self.assignment.get(one, []))
        return None

    def _check(self, member_id: str, generation: int) -> None:
        if member_id not in self.members:
            raise Refused(KafkaError.UNKNOWN_MEMBER_ID)
        if generation != self.generation:
            raise Refused(KafkaError.ILLEGAL_GENERATION)

    def heartbeat(self, member_id: str, generation: int) -> None:
        """Raises Refused, also while a rebalance waits for the member."""
        self._check(member_id, generation)
        self._touch(member_id)
        if self.is_joining:
            raise Refused(KafkaError.REBALANCE_IN_PROGRESS)

    def leave(self, member_id: str) -> None:
        if self.members.pop(member_id, None) is None:
            return
        self.scheduler.note(f"{member_id} leaves")
        if self.members:
            self._rebalance()
        else:
            self.is_joining, self.leader = False, ""
            self.generation += 1

    def _touch(self, member_id: str) -> None:
        member = self.members[member_id]
        is_watched = member.deadline > self.scheduler.now
        member.deadline = self.scheduler.now + member.session
        if not is_watched:
            self.scheduler.later(member.session, lambda: self._expire(member_id))

    def _expire(self, member_id: str) -> None:
        member = self.members.get(member_id)
        if member is None:
            return
        if member.join is not None or member.sync is not None:
            # It waits for the others, or for the leader.
            member.deadline = self.scheduler.now + member.session
        if (left := member.deadline - self.scheduler.now) > 1e-9:
            self.scheduler.later(left, lambda: self._expire(member_id))
        else:
            self.leave(member_id)

    def postpone_deadlines(self, seconds: float) -> None:
        """Give every member so much longer, as a broker does that was away."""
        for member in self.members.values():
            member.deadline += seconds

    def commit_pending(
        self,
        producer: int,
        epoch: int,
        member_id: str,
        generation: int,
        offsets: Mapping[Partition, Committed],
    ) -> None:
        """Take the offsets of a transaction. They count once its marker comes. A producer
        with neither member nor generation is not checked: it is of a time before KIP-447.
        """
        if epoch < self._epochs.get(producer, -1):
            raise Refused(KafkaError.INVALID_PRODUCER_EPOCH)
        self._epochs[producer] = epoch
        if member_id or generation >= 0:
            self._check(member_id, generation)
        self.pending.setdefault(producer, {}).update(self._numbered(offsets))

    def mark(self, producer: int, epoch: int, commit: bool) -> None:
        self._epochs[producer] = max(epoch, self._epochs.get(producer, -1))
        offsets = self.pending.pop(producer, {})
        if commit:
            self._commit(offsets)

    def commit_of(
        self, member_id: str, generation: int, offsets: Mapping[Partition, Committed]
    ) -> None:
        """Commit offsets of a member. Raises Refused."""
        self._check(member_id, generation)
        self._touch(member_id)
        self.commit(offsets)

    def commit(self, offsets: Mapping[Partition, Committed]) -> None:
        """Commit offsets without a transaction."""
        self._commit(self._numbered(offsets))

    def _numbered(self, offsets: Mapping[Partition, Committed]) -> dict[Partition, Committed]:
        self._number += 1
        return {one: value._replace(number=self._number) for one, value in offsets.items()}

    def _commit(self, offsets: Mapping[Partition, Committed]) -> None:
        for one, value in offsets.items():
            known = self.committed.get(one)
            if known is None or known.number < value.number:
                self.committed[one] = value

    def handled(self, partition: Partition) -> int:
        """Return the offset before which all records are handled, also if its marker is missing."""
        known = [self.committed.get(partition), *(o.get(partition) for o in self.pending.values())]
        return max((value.offset for value in known if value), default=0)

    def offsets(
        self, partitions: list[Partition], stable: bool
    ) -> dict[Partition, Committed | None]:
        """Raises Refused with `stable` while a transaction has offsets of one partition."""
        if stable and any(one in each for each in self.pending.values() for one in partitions):
            raise Refused(KafkaError.UNSTABLE_OFFSET_COMMIT)
        return {one: self.committed.get(one) for one in partitions}
