"""The history of a simulated seed, as `tests.checker` reads it."""

from collections.abc import Iterable, Iterator

from tests.chaos.history import ledger_lines
from tests.chaos.ledger import Ledger
from tests.checker.avro import Decoder, released_schemas
from tests.checker.history import CALLBACKS, CLOSES, DEAD, ROWS, TYPED
from tests.checker.record import Line, read_line, reader_line, record_line
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.log import PartitionLog

_TOPICS = frozenset((*TYPED, DEAD))
_DECODE = Decoder(released_schemas())
_READER, _READ, _ALL = "service", (ROWS, CLOSES), 1_000_000


class Service:
    """Reads the decisions and the rows as a service does: committed records, each as it comes."""

    def __init__(self, kafka: SimulatedKafka) -> None:
        self._kafka = kafka
        self._next = {(topic, n): 0 for topic in _READ for n in range(len(kafka.topics[topic]))}
        self.lines = [reader_line(_READER, topic, "stream") for topic in _READ]

    def read(self) -> None:
        """Read everything up to the end."""
        for (topic, number), start in self._next.items():
            entries, end = self._kafka.topics[topic][number].read(start, _ALL, True)
            self._next[topic, number] = end
            for entry in entries:
                place = {"partition": number, "offset": entry.offset}
                self.lines.append(read_line(_READER, topic, **place))


def history(kafka: SimulatedKafka, ledger: Ledger, reads: Iterable[Line]) -> Iterator[Line]:
    """Yield what senders know, what is on the cluster now, and what was read."""
    yield from ledger_lines(ledger)
    for topic, logs in kafka.topics.items():
        if topic in _TOPICS or topic.startswith(CALLBACKS):
            for number, log in enumerate(logs):
                yield from _records(topic, number, log)
    yield from reads


def _records(topic: str, number: int, log: PartitionLog) -> Iterator[Line]:
    """Yield what was ever written, also what compaction and retention deleted."""
    for entry in log.entries:
        if (record := entry.record) is not None:
            is_open = entry.offset >= log.last_stable
            outcome = "aborted" if entry.is_aborted else "open" if is_open else "committed"
            place, (key, value, headers, at) = (topic, number, entry.offset), record
            yield record_line(place, key, value, headers, at, outcome, _DECODE)
