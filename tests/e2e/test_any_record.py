"""No record of any topic ends a process, fails a batch for good or stops other work (B1, B2)."""

from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text

from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas.headers import headers_of
from schemas.topics import DEAD_LETTERS, Topic, all_topics
from streams import consume
from tests.e2e.system import System
from tests.support import odd_records, record_batches
from tests.support.avro import framed
from tests.support.groups import GROUPS, await_groups
from tests.support.reading import read_all
from tests.support.record_batches import batch, record
from tests.support.sandboxing import Providers
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TOPICS = {topic.name: topic for topic in all_topics(PROVIDERS)}
# What these consume goes aside as a dead letter; what else the board reads, in `unreadable`.
SETTLE = {"order-close", "settlement"}
DEAD_LETTERED = {topic for topics in GROUPS.values() for topic in topics}
BOARD = {"link-status", "link-events", "orders", "anomalies", "notices", *SETTLE}
BOARD |= {"reconciliations", "refused-callbacks"}


def unreadable(system: System) -> Counter[str]:
    """Return the number of records that the board has set aside, by topic."""
    engine = create_engine(f"sqlite:///{system.data / 'board.sqlite'}")
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT topic, COUNT(*) FROM unreadable GROUP BY topic"))
        counts = Counter({str(topic): int(number) for topic, number in rows})
    engine.dispose()
    return counts


def dead_letters(cluster: Cluster) -> Counter[str]:
    """Return the number of dead-lettered origins by topic."""
    headers = [dict(headers_of(message)) for message in read_all(cluster, DEAD_LETTERS.name)]
    origins = {each.get("origin", b"").decode(errors="replace") for each in headers}
    return Counter(origin.rpartition("/")[0].rpartition("/")[0] for origin in origins)


@pytest.fixture(scope="module")
def written(system: System, cluster: Cluster) -> dict[str, int]:
    """Write all odd records to all topics. Return the number of the broken ones by topic."""
    broken = {
        name: sum(odd.broken for odd in odd_records.write(cluster, topic, 2))
        for name, topic in TOPICS.items()
    }
    for name in ("link-events", "link-facts"):
        record_batches.write(cluster, name, 0, unknown_ids(300))
        broken[name] += 300
    assert sum(broken.values()) > 800
    return broken


def unknown_ids(number: int) -> bytes:
    """Return a batch of records with that many unknown schema ids (B5)."""
    return batch([record(n, b"ping:odd", framed(0x70000000 + n, b"x")) for n in range(number)])


@pytest.fixture(scope="module")
def before(system: System, providers: Providers) -> set[tuple[int, float]]:
    providers.settle_one("before")
    return system.processes()


def test_b2_good_records_between_odd_ones_are_handled_within_seconds(
    before: set[tuple[int, float]],
    written: dict[str, int],
    system: System,
    providers: Providers,
    cluster: Cluster,
) -> None:
    assert providers.settle_one("after") < 30
    await_groups(cluster)
    assert system.processes() == before


@pytest.mark.parametrize("name", sorted(DEAD_LETTERED))
def test_b2_broken_record_is_a_dead_letter(
    written: dict[str, int], cluster: Cluster, name: str
) -> None:
    until_sync(lambda: dead_letters(cluster)[name] >= written[name], f"dead letters of {name}")


@pytest.mark.parametrize("name", sorted(BOARD))
def test_b2_record_that_the_board_cannot_read_is_set_aside(
    written: dict[str, int], system: System, name: str
) -> None:
    until_sync(lambda: unreadable(system)[name] >= written[name], f"unreadable of {name}")


def test_b2_consumer_reads_past_odd_records(written: dict[str, int], cluster: Cluster) -> None:
    for topic in readable():
        errors: list[Exception] = []
        with consume(
            topic, group="odd", cluster=cluster, until_end=True, on_unreadable=errors.append
        ) as records:
            assert list(records)
        assert len(errors) >= written[topic.name] - (topic.keep_ms is not None)


def readable() -> Iterator[Topic[object]]:
    for name in ("order-close", "link-status"):
        yield TOPICS[name]


@pytest.mark.parametrize(
    "name", ["callbacks.ping", "links", "link-status", "dead-letters", "schemas"]
)
def test_b2_tail_prints_odd_records(written: dict[str, int], system: System, name: str) -> None:
    output = system.run("tail", name, "--json", "--from-beginning", "--exit-at-end")
    assert len(output.splitlines()) > 20


def test_b2_commands_and_pages_read_odd_dead_letters(
    written: dict[str, int], system: System
) -> None:
    assert system.run("dead-letters", "list", "--json")
    for path in (
        "/links",
        "/orders",
        "/anomalies",
        "/dead-letters",
        "/notices",
        "/reconciliations",
        "/",
    ):
        system.get(path)


def test_b2_restart_reads_odd_records_of_every_table(
    written: dict[str, int], system: System, providers: Providers
) -> None:
    system.stop()
    system.start()
    assert Providers(system).settle_one("restarted") < 30
