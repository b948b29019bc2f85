"""A process that fails for good while records wait says so everywhere, and ends."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
from confluent_kafka.admin import AdminClient

from connectors.board.database.summary import Summary
from connectors.board.overview.problems import Problem, problems
from connectors.board.overview.process_health import HealthMonitor
from connectors.kafka.cluster import Cluster
from schemas import codec, topics
from schemas.topics import Topic
from streams import settings
from streams.admin import doctor
from streams.local import subprocesses
from tests.connectors.board.samples import Make
from tests.support import processes
from tests.support.codecs import CODECS
from tests.support.reading import write_all
from tests.support.shell import Shell
from tests.support.waiting import until, until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

# Half of it is the time to see it.
_STALL_SECONDS = 12.0
NOTHING = Summary({}, {}, [], [], 0, 0, None, [], [])


class Process:
    """One of our processes, as a supervisor runs it."""

    def __init__(self, name: str, cluster: Cluster, folder: Path) -> None:
        env = processes.environment(cluster, folder, STALL_SECONDS=str(_STALL_SECONDS))
        self.name, self.cluster, self.folder = name, cluster, folder
        self.url = f"http://127.0.0.1:{env[processes.PORT]}"
        self.popen = processes.spawn(name, folder / "log", env)

    def get(self, path: str) -> httpx.Response | None:
        assert self.popen.poll() is None, (self.folder / "log").read_text()[-3000:]
        try:
            return httpx.get(self.url + path)
        except httpx.TransportError:
            return None

    def answers(self, path: str, status: int, text: str) -> Callable[[], bool]:
        def holds() -> bool:
            answer = self.get(path)
            return answer is not None and answer.status_code == status and text in answer.text

        return holds


Start = Callable[[str], Process]


@pytest.fixture
def start(kafka: Cluster, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def started(name: str) -> Process:
            process = Process(name, kafka, tmp_path)
            stack.callback(subprocesses.stop, process.popen, 10)
            return process

        yield started


def delete(cluster: Cluster, topic: Topic[object]) -> None:
    """Delete a topic, for good: our processes create none."""
    admin, name = AdminClient(cluster.librdkafka()), cluster.topic(topic.name)
    admin.delete_topics([name])[name].result(30)
    until_sync(lambda: name not in admin.list_topics(timeout=10).topics, "the topic to go")


def break_database(process: Process) -> None:
    """Take a table away. A record for it waits then."""
    until_sync(process.answers("/readyz/board", 200, "ready"), "the board to follow")
    with closing(sqlite3.connect(process.folder / "board.sqlite")) as database:
        database.execute("DROP TABLE link_status")
    status = CODECS.encode(codec.LINK_STATUS, Make().status("a"))
    write_all(process.cluster, "link-status", [(b"ping:a", status)])


# What each process lacks for good, where records then wait, and a part of the error that it names.
CASES = [
    ("work", topics.ORDERS, "links", "same number of partitions"),
    ("lookup", topics.DEAD_LETTERS, "lookups", "dead-letters: "),
    ("settle", topics.DEAD_LETTERS, "order-close", "dead-letters: "),
    ("board", None, "link-status", "no such table"),
]


@pytest.mark.parametrize(("name", "missing", "topic", "cause"), CASES, ids=[c[0] for c in CASES])
async def test_b3_process_that_fails_for_good_is_seen_and_ends(
    name: str,
    missing: Topic[object] | None,
    topic: str,
    cause: str,
    kafka: Cluster,
    start: Start,
    shell: Shell,
) -> None:
    if missing is not None:
        delete(kafka, missing)
        # No process can read it: each wants to dead-letter it, or waits with it.
        write_all(kafka, topic, [(b"ipint:a", b"junk")])
    process = start(name)
    if missing is None:
        break_database(process)
    await until(process.answers("/readyz", 503, "no progress for"), "the process to be unready")
    metrics = process.get("/metrics")
    assert metrics is not None
    stalled = [line for line in metrics.text.splitlines() if line.startswith("linkstatus_stalled{")]
    assert any(line.endswith(" 1.0") for line in stalled), stalled
    seen = await problem(process)
    assert cause in f"{seen.title} {seen.detail}"
    overrides = {"brokers": kafka.brokers, "board": {"processes": {name: process.url}}}
    found = next(
        one
        for one in doctor.examine(settings.load(**overrides), call_providers=False)
        if one.check == f"process {name}"
    )
    assert found.state == "wrong", found
    assert cause in found.message
    assert process.popen.wait(60) == 1
    log = (process.folder / "log").read_text()
    (end,) = [line for line in log.splitlines() if "exiting for a restart" in line]
    assert cause in end


async def problem(process: Process) -> Problem:
    """The problem that the live page makes of the process."""
    monitor = HealthMonitor({process.name: process.url})
    async with httpx.AsyncClient() as client:
        await monitor.check(client)
    (one,) = problems(NOTHING, monitor.processes, None)
    return one


def test_b3_stall_of_the_board_does_not_end_the_edge(start: Start) -> None:
    process = start("web")
    break_database(process)
    until_sync(process.answers("/readyz/board", 503, "no such table"), "the board to say it")
    log = process.folder / "log"
    until_sync(lambda: "exiting for a restart" in log.read_text(), "the board's stall")
    until_sync(
        process.answers("/metrics", 200, "linkstatus_board_failures_total 1.0"), "its new start"
    )
    assert process.answers("/readyz", 200, "ready")()
    assert process.answers("/readyz/board", 503, "no such table")()
