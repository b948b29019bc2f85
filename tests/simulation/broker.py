"""The broker as aiokafka talks to it: requests and responses of Kafka's protocol, as objects."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka.protocol import commit, coordination, fetch, group, metadata, offset, produce
from aiokafka.protocol.transaction import InitProducerIdRequest_v0
from confluent_kafka import KafkaError

from tests.simulation import batches
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.groups import Committed, Joined, Partition
from tests.simulation.network import Refused, Reply

_MOST_FETCHED = 50
_READ_COMMITTED = 1
_LATEST = -1
_NODE, _HOST, _PORT = 0, "simulated", 9092
_NONE = -1
_PROTOCOL = "single-active"
_ELSE = "another member"
Handler = Callable[[Any, Reply], None]
# (topic, [(partition, …)]) is how requests and responses name partitions.
Topics = Iterable[tuple[str, Iterable[Any]]]


class Broker:
    """The broker of one connection."""

    def __init__(self, kafka: SimulatedKafka, client_id: str) -> None:
        self._kafka, self._client_id = kafka, client_id

    def request(self, message: Any) -> tuple[str, Callable[[Reply], None]]:
        """Return the kind of the request, as faults name it, and its handler."""
        kind, handler = _HANDLERS[type(message)]
        if kind == "Produce":
            kind = f"Produce {message.topics[0][0]}"
        return kind, lambda reply: handler(self, message, reply)

    def find_coordinator(self, message: Any, reply: Reply) -> None:
        reply(message.RESPONSE_TYPE(0, 0, None, _NODE, _HOST, _PORT))

    def metadata(self, message: Any, reply: Reply) -> None:
        names = self._kafka.topics if message.topics is None else message.topics
        topics = [self._topic(name) for name in names]
        reply(message.RESPONSE_TYPE(0, [(_NODE, _HOST, _PORT, None)], "simulated", _NODE, topics))

    def _topic(self, name: str) -> tuple[Any, ...]:
        logs = self._kafka.topics.get(name)
        if logs is None:
            return KafkaError.UNKNOWN_TOPIC_OR_PART, name, False, []
        return 0, name, False, [(0, n, _NODE, [_NODE], [_NODE], []) for n in range(len(logs))]

    def init_producer_id(self, message: Any, reply: Reply) -> None:
        assert message.transactional_id is None
        reply(message.RESPONSE_TYPE(0, 0, self._kafka.transactions.new_producer(), 0))

    def produce(self, message: Any, reply: Reply) -> None:
        def append(place: Partition, data: bytes) -> tuple[Any, ...]:
            code = 0
            try:
                for batch in batches.sent(data, self._kafka.now_ms()):
                    self._kafka.append(None, place, *batch)
            except Refused as refusal:
                code = refusal.code
            return code, self._kafka.log(*place).end, _NONE, 0

        reply(message.RESPONSE_TYPE(_each(message.topics, append), 0))

    def fetch(self, message: Any, reply: Reply) -> None:
        """Answer once there are records, or after the time that the client wants to wait."""
        is_over = False

        def answer(topics: list[Any]) -> None:
            nonlocal is_over
            is_over = True
            reply(message.RESPONSE_TYPE(0, 0, 0, topics))

        def arrived(topic: str) -> None:
            if is_over:
                return
            topics = self._fetched(message)
            if any(part[-1] or part[1] for _, parts in topics for part in parts):
                answer(topics)
            else:
                self._kafka.on_arrival(topic, lambda: arrived(topic))

        def waited() -> None:
            if not is_over:
                answer(self._fetched(message))

        for topic, _ in message.topics:
            arrived(topic)
        if not is_over:
            self._kafka.scheduler.later(message.max_wait_time / 1000, waited)

    def _fetched(self, message: Any) -> list[Any]:
        is_committed = message.isolation_level == _READ_COMMITTED

        def read(place: Partition, _: int, start: int, *__: Any) -> tuple[Any, ...]:
            log = self._kafka.log(*place)
            first, end, last_stable = log.offsets()
            code = 0 if first <= start <= end else KafkaError.OFFSET_OUT_OF_RANGE
            entries = [] if code else log.entries[start : last_stable if is_committed else end]
            visible = [e for e in entries if not (e.is_gone or (is_committed and e.is_aborted))]
            data = batches.fetched(visible[:_MOST_FETCHED])
            return code, end, last_stable, first, [], _NONE, data

        return _each(message.topics, read)

    def list_offsets(self, message: Any, reply: Reply) -> None:
        def find(place: Partition, at: int) -> tuple[Any, ...]:
            first, end, last_stable = self._kafka.log(*place).offsets()
            visible = last_stable if message.isolation_level == _READ_COMMITTED else end
            return 0, _NONE, visible if at == _LATEST else first

        reply(message.RESPONSE_TYPE(0, _each(message.topics, find)))

    def join_group(self, message: Any, reply: Reply) -> None:
        members, metadata = self._kafka.group(message.group), message.group_protocols[0][1]

        def respond(answer: Joined | Refused) -> None:
            if isinstance(answer, Refused):
                return reply(self._not_joined(message, answer.code, message.member_id))
            leader = answer.member_id if answer.topics else _ELSE
            each = [(member, None, known) for member, known in answer.topics.items()]
            fields = answer.generation, _PROTOCOL, leader, answer.member_id, each
            return reply(message.RESPONSE_TYPE(0, 0, *fields))

        if not message.member_id:
            # KIP-394: a member joins with an id that it knows.
            given = members.new_member_id(self._client_id)
            return reply(self._not_joined(message, KafkaError.MEMBER_ID_REQUIRED, given))
        session = message.session_timeout / 1000
        return members.join(message.member_id, self._client_id, metadata, session, respond)

    def _not_joined(self, message: Any, code: int, member_id: str) -> Any:
        return message.RESPONSE_TYPE(0, code, _NONE, _PROTOCOL, "", member_id, [])

    def sync_group(self, message: Any, reply: Reply) -> None:
        def respond(answer: Any) -> None:
            code = answer.code if isinstance(answer, Refused) else 0
            reply(message.RESPONSE_TYPE(0, code, b"" if code else bytes(answer)))

        assignment = dict(message.group_assignment) or None
        members = self._kafka.group(message.group)
        members.sync(message.member_id, message.generation_id, assignment, respond)

    def heartbeat(self, message: Any, reply: Reply) -> None:
        members = self._kafka.group(message.group)
        code = _code(lambda: members.heartbeat(message.member_id, message.generation_id))
        reply(message.RESPONSE_TYPE(0, code))

    def leave_group(self, message: Any, reply: Reply) -> None:
        code = _code(lambda: self._kafka.group(message.group).leave(message.member_id))
        reply(message.RESPONSE_TYPE(0, code))

    def commit_offsets(self, message: Any, reply: Reply) -> None:
        offsets = {
            (topic, number): Committed(*values)
            for topic, partitions in message.topics
            for number, *values in partitions
        }
        members = self._kafka.group(message.consumer_group)
        member = message.consumer_id, message.consumer_group_generation_id
        code = _code(lambda: members.commit_of(*member, offsets))
        reply(message.RESPONSE_TYPE(0, _each(message.topics, lambda *_: (code,))))

    def fetch_offsets(self, message: Any, reply: Reply) -> None:
        committed: Mapping[Partition, Committed] = self._kafka.group(
            message.consumer_group
        ).committed

        def find(place: Partition) -> tuple[Any, ...]:
            known = committed.get(place)
            return (known.offset, known.metadata, 0) if known else (_NONE, "", 0)

        topics = [(topic, [(one,) for one in numbers]) for topic, numbers in message.topics]
        reply(message.RESPONSE_TYPE(0, _each(topics, find), 0))


def _each(topics: Topics, call: Callable[..., tuple[Any, ...]]) -> list[Any]:
    """Return what `call` returns for each partition, behind the partition's number."""
    return [
        (topic, [(number, *call((topic, number), *rest)) for number, *rest in partitions])
        for topic, partitions in topics
    ]


def _code(call: Callable[[], None]) -> int:
    try:
        call()
    except Refused as refusal:
        return refusal.code
    return 0


_HANDLERS: Mapping[type, tuple[str, Any]] = {
    coordination.FindCoordinatorRequest_v1: ("FindCoordinator", Broker.find_coordinator),
    metadata.MetadataRequest_v5: ("Metadata", Broker.metadata),
    InitProducerIdRequest_v0: ("InitProducerId", Broker.init_producer_id),
    produce.ProduceRequest_v7: ("Produce", Broker.produce),
    fetch.FetchRequest_v11: ("Fetch", Broker.fetch),
    offset.OffsetRequest_v3: ("ListOffsets", Broker.list_offsets),
    group.JoinGroupRequest_v5: ("JoinGroup", Broker.join_group),
    group.SyncGroupRequest_v3: ("SyncGroup", Broker.sync_group),
    group.HeartbeatRequest_v1: ("Heartbeat", Broker.heartbeat),
    group.LeaveGroupRequest_v1: ("LeaveGroup", Broker.leave_group),
    commit.OffsetCommitRequest_v3: ("OffsetCommit", Broker.commit_offsets),
    commit.OffsetFetchRequest_v3: ("OffsetFetch", Broker.fetch_offsets),
}
# The versions that the broker speaks, by the number of the request.
VERSIONS = {
    message.API_KEY: (message.API_VERSION, message.API_VERSION)  # type: ignore[attr-defined]
    for message in _HANDLERS
}
