"""What the suite asks a system: is it kept, does the honest pass, is it still the same?"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import httpx
from confluent_kafka import Message, TopicPartition

from connectors.clock import micros_now
from connectors.kafka import topic_reader
from connectors.kafka.cluster import Cluster
from connectors.kafka.partitioner import partition_of
from connectors.providers.registry import PROVIDERS
from connectors.providers.simulator import Callback, to_json
from connectors.sandbox.config import SandboxConfig, simulator_of
from connectors.sandbox.delivery import signed_headers
from schemas.codec import LINK_REGISTERED, LINK_STATUS
from schemas.headers import headers_of
from schemas.ids import is_identifier
from schemas.topics import LINK_STATUS as LINK_STATUS_TOPIC
from schemas.topics import LINKS, callbacks, message_key
from tests.e2e.system import System
from tests.fuzz.records import PARTITIONS
from tests.fuzz.traffic import Ledger, Promise, registration_of
from tests.support.codecs import CODECS
from tests.support.waiting import PATIENCE

_MIB = 1 << 20
# In the ids of the links that honest providers call back about.
HONEST = "honest"


class Tail:
    """The records that partitions of topics get from now on."""

    def __init__(self, cluster: Cluster, topics: Iterable[str], partitions: Iterable[int]) -> None:
        self._consumer = topic_reader.reader(cluster, "fuzz", **{"fetch.wait.max.ms": 10})
        self._next = {
            place: self._consumer.get_watermark_offsets(TopicPartition(*place), PATIENCE)[1]
            for place in product(map(cluster.topic, topics), partitions)
        }

    def new(self) -> Iterator[Message]:
        """Yield the records since the last call."""
        for (topic, number), start in self._next.items():
            reading = topic_reader.read(
                self._consumer, topic, [number], start=start, seconds=PATIENCE
            )
            for message in reading:
                self._next[topic, number] = (message.offset() or 0) + 1
                yield message

    def close(self) -> None:
        self._consumer.close()


class Kept:
    """Compares what was acknowledged with what the edge has written."""

    def __init__(self, cluster: Cluster) -> None:
        topics = [callbacks(name).name for name in PROVIDERS]
        self._prefix = cluster.prefix
        self._tail = Tail(cluster, [LINKS.name, *topics], range(PARTITIONS))

    def problems(self, ledger: Ledger) -> Iterator[str]:
        """Yield what differs since the last call: a 200 without its record, byte for byte, and a
        record of a request that was refused.
        """
        found = Counter(self._promises())
        for promise in ledger.promised - found:
            yield f"acknowledged, and not kept: {promise}"[:1000]
        refused = found - ledger.promised - ledger.open_
        for promise in refused:
            # The honest send callbacks, too, and links are also written past the edge.
            if promise[0] != LINKS.name and HONEST.encode() not in promise[1]:
                yield f"kept, and not acknowledged: {promise}"[:1000]

    def _promises(self) -> Iterator[Promise]:
        for message in self._tail.new():
            topic = (message.topic() or "").removeprefix(self._prefix)
            value = message.value() or b""
            if topic == LINKS.name:
                try:
                    yield topic, registration_of(CODECS.decode(LINK_REGISTERED, value)), b"", b""
                except ValueError:
                    continue  # written past the edge
                continue
            headers = dict(headers_of(message))
            # Those written past the edge have no such id.
            is_of_edge = len(headers.get("callback-id", b"")) == 32
            if is_of_edge and headers.get("source") == b"callback":
                content_type = headers.get("content-type", b"")
                yield topic, value, content_type, headers.get("content-encoding", b"")

    def close(self) -> None:
        self._tail.close()


class Honest:
    """An honest provider: its signed callbacks reach their rows."""

    def __init__(self, cluster: Cluster, sandbox: SandboxConfig) -> None:
        self._cluster = cluster
        self._site = sandbox.site("peach")

    def pass_one(self, partition: int) -> float:
        """Send a signed callback of a new link, whose rows are in this partition. Return the
        seconds from the request to the committed row.
        """
        link_id = next(
            i for i in _ids() if partition_of(message_key("peach", i), PARTITIONS) == partition
        )
        tail = Tail(self._cluster, [LINK_STATUS_TOPIC.name], [partition])
        # A payment would also wait for a lookup, and the sandbox does not know the link.
        callback = Callback(to_json({"status": "cancelled", "paymentId": link_id}))
        url = self._site.callback_url
        headers = signed_headers(simulator_of("peach"), self._site, callback, url, micros_now())
        started = time.monotonic()
        try:
            answer = httpx.post(url, content=callback.body, headers=headers, timeout=PATIENCE)
            assert answer.status_code == 200, answer.text
            while not self._has_row(tail.new(), link_id):
                assert time.monotonic() < started + PATIENCE, f"no row of {link_id}"
            return time.monotonic() - started
        finally:
            tail.close()

    @staticmethod
    def _has_row(messages: Iterable[Message], link_id: str) -> bool:
        key = message_key("peach", link_id)
        rows = [m.value() for m in messages if m.key() == key]
        return any(CODECS.decode(LINK_STATUS, row)["status"] == "CANCELLED" for row in rows)


def _ids() -> Iterator[str]:
    while True:
        yield f"{HONEST}-{uuid4()}"


# The fields that are in the address of a row's own page.
_LISTS: dict[str, tuple[str, ...]] = {
    "links": ("provider", "link_id"),
    "orders": ("provider", "order_id"),
    "dead-letters": ("partition", "offset"),
    "anomalies": (),
    "notices": (),
    "reconciliations": ("provider", "day"),
}
_ROWS = 20


def page_problems(system: System) -> Iterator[str]:
    """Yield the pages that cannot show the newest rows, in JSON and in HTML."""
    with httpx.Client(base_url=system.url, timeout=PATIENCE) as client:
        for name, fields in _LISTS.items():
            answer = client.get(f"/{name}", params={"limit": _ROWS})
            rows = answer.json()[name.replace("-", "_")] if answer.is_success else []
            keys = [[str(row[field]) for field in fields] for row in rows if fields]
            # A row that was written past `work` may have an id that no address can name.
            named = [key for key in keys if all(map(is_identifier, key))]
            own = ["/".join(quote(part, safe="") for part in (name, *key)) for key in named]
            for path, accept in product([name, *own], ("application/json", "text/html")):
                status = client.get(f"/{path}", headers={"accept": accept}).status_code
                if status != 200:
                    yield f"{status} for /{path} as {accept}"


class Sameness:
    """Whether the processes of a system are those of the start, and how much they have grown."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._processes = system.processes()
        self._memory = _memory(system)
        self._log_sizes = {file: file.stat().st_size for file in _logs(system)}

    def problems(self) -> Iterator[str]:
        """Yield what is not as it was, and new tracebacks in the logs."""
        for pid, _ in sorted(self._processes - self._system.processes()):
            yield f"process {pid} has ended"
        for file in _logs(self._system):
            with file.open("rb") as log:
                log.seek(self._log_sizes.get(file, 0))
                text = log.read().decode(errors="replace")
                self._log_sizes[file] = log.tell()
            for part in text.split("Traceback (most recent call last)")[1:]:
                lines = part.splitlines()[1:]
                # The first line that is not indented names the error.
                end = next((n for n, line in enumerate(lines) if line[:1].strip()), len(lines))
                yield f"traceback in {file.name}: {chr(10).join(lines[: end + 1][-30:])}"

    def growth(self, before: Mapping[str, float]) -> dict[str, float]:
        """Return the MiB by which each process has grown; `before` if that was more."""
        now = _memory(self._system)
        grown = {name: now.get(name, 0.0) - size for name, size in self._memory.items()}
        return {name: max(size, before.get(name, 0.0)) for name, size in grown.items()}


def _memory(system: System) -> dict[str, float]:
    return {
        child.cmdline()[-1]: child.memory_info().rss / _MIB
        for child in system.family()
        if "streams.cli" in child.cmdline()
    }


def _logs(system: System) -> list[Path]:
    return sorted((system.data / "logs").glob("*.log"))
