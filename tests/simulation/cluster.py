"""The simulated cluster: partitions, groups and transactions behind one network."""

from collections.abc import Callable, Iterable
from random import Random

from confluent_kafka import KafkaError

from schemas.limits import RECORD_BYTES
from tests.simulation.groups import Group
from tests.simulation.log import PartitionLog, Record
from tests.simulation.network import Network, Refused
from tests.simulation.scheduler import Scheduler
from tests.simulation.transactions import GROUP, Target, Transactions

# How often a leader comes right behind a refused batch, so that the next one is taken.
_ELECTED_SHARE = 0.02
_MARKER_SECONDS = (0.004, 0.004, 0.05, 0.4)


class SimulatedKafka:
    """One broker. `slow_marker` returns by how many seconds a marker is late, a fault;
    its arguments are the target and the transactional id.

    Each partition learns of a transaction's end in its own time, as from several brokers.
    """

    def __init__(self, scheduler: Scheduler, random: Random, epoch_ms: int = 0) -> None:
        self.scheduler = scheduler
        self.random = random
        self.network = Network(scheduler, random)
        self.topics: dict[str, list[PartitionLog]] = {}
        self.groups: dict[str, Group] = {}
        # The client ids of the open members, as their processes know.
        self.open_members: set[str] = set()
        # Called when a record or a marker arrives in the topic, once.
        self._on_arrival: dict[str, list[Callable[[], None]]] = {}
        self.slow_marker: Callable[[Target, str], float] = lambda target, name: 0.0
        self.transactions = Transactions(scheduler, self._write_marker, self._marker_seconds)
        self._leaderless_until: dict[tuple[str, int], float] = {}
        self._epoch_ms = epoch_ms
        # Some clusters are slow with all markers.
        self._usual_marker = random.choice(_MARKER_SECONDS)

    def create(self, topics: Iterable[str], partitions: int) -> None:
        for topic in topics:
            self.topics[topic] = [PartitionLog(RECORD_BYTES) for _ in range(partitions)]

    def lose_leaders(self, seconds: float) -> None:
        """Let each partition be without a leader for a part of this time, as new ones are."""
        for topic, logs in self.topics.items():
            for number in range(len(logs)):
                until = self.scheduler.now + seconds * self.random.random()
                self._leaderless_until[topic, number] = until

    def has_leader(self, place: tuple[str, int]) -> bool:
        return self.scheduler.now >= self._leaderless_until.get(place, 0.0)

    def now_ms(self) -> int:
        """The time of a record that is written now."""
        return self._epoch_ms + int(self.scheduler.now * 1000)

    def log(self, topic: str, number: int) -> PartitionLog:
        partitions = self.topics.get(topic, [])
        if number >= len(partitions):
            raise Refused(KafkaError.UNKNOWN_TOPIC_OR_PART)
        return partitions[number]

    def group(self, name: str) -> Group:
        if name not in self.groups:
            self.groups[name] = Group(name, self.scheduler)
        return self.groups[name]

    def go_away(self, seconds: float) -> None:
        """Answer nothing for so long, as a broker that is stopped and started again."""
        self.scheduler.note(f"the broker is away for {seconds:.3f} s")
        self.network.go_away(seconds)
        for group in self.groups.values():
            group.postpone_deadlines(seconds + 1)

    def append(
        self,
        name: str | None,
        place: tuple[str, int],
        producer: int,
        epoch: int,
        sequence: int,
        records: list[Record],
    ) -> None:
        """Append a batch; `name` is the transactional id. Raises Refused."""
        if not self.has_leader(place):
            if self.random.random() < _ELECTED_SHARE:
                self._leaderless_until[place] = self.scheduler.now
            raise Refused(KafkaError.NOT_LEADER_FOR_PARTITION)
        if name is not None:
            self.transactions.verify(name, producer, epoch, place)
        self.log(*place).append(producer, epoch, sequence, records, name is not None)
        self._arrived(place[0])

    def on_arrival(self, topic: str, call: Callable[[], None]) -> None:
        """Call it once something arrives in the topic."""
        self._on_arrival.setdefault(topic, []).append(call)

    def _arrived(self, topic: str) -> None:
        for call in self._on_arrival.pop(topic, []):
            call()

    def _write_marker(self, target: Target, producer: int, epoch: int, commit: bool) -> None:
        if target[0] == GROUP:
            self.group(str(target[1])).mark(producer, epoch, commit)
        else:
            self.log(target[0], int(target[1])).mark(producer, epoch, commit)
            self._arrived(target[0])

    def _marker_seconds(self, target: Target, name: str) -> float:
        usual = self._usual_marker * self.random.random()
        return usual + self.slow_marker(target, name) + self.network.away_seconds
