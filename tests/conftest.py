"""What all tests share: one embedded broker a run, and topics of its own for each test."""

import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas.topics import all_topics
from streams.admin import topics
from streams.local.broker import Broker
from tests.support.shell import Shell
from tests.support.waiting import PATIENCE

# No deadline: how long an example takes says more of the machine than of the code.
# HYPOTHESIS_PROFILE=thorough is for a long look at the rules.
hypothesis.settings.register_profile("quick", max_examples=8, deadline=None)
hypothesis.settings.register_profile("usual", max_examples=30, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what is read now")
    parser.addoption("--fuzz-seconds", type=float, default=20.0, help="how long test_fuzz runs")
    parser.addoption("--fuzz-seed", default="1", help="empty for a random one")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the modules on Kafka first: they take longest, so parallel runs end with short ones."""
    on_kafka = {item.path for item in items if item.get_closest_marker("kafka")}
    items.sort(key=lambda item: item.path not in on_kafka)


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten; the change is then reviewed in the diff."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The cluster of LINKSTATUS_BROKERS, else the run's own broker. Tests that stop or kill a
    broker start one for themselves.
    """
    given = os.environ.get("LINKSTATUS_BROKERS")
    if given:
        yield given
        return
    broker = Broker(tmp_path_factory.mktemp("broker"), say=print)
    broker.start()
    yield broker.brokers
    broker.stop()


def _without_topics(brokers: str) -> Cluster:
    return Cluster(brokers=brokers, prefix=f"{uuid.uuid4().hex[:10]}.")


def _with_topics(brokers: str) -> Cluster:
    cluster = _without_topics(brokers)
    topics.create(cluster, all_topics(PROVIDERS), partitions=2, replication=1)
    return cluster


def _delete_topics(cluster: Cluster) -> None:
    names = [cluster.topic(topic.name) for topic in all_topics(PROVIDERS)]
    client = AdminClient(cluster.librdkafka())  # a variable: the answers come only while it lives
    for deletion in client.delete_topics(names).values():
        error = deletion.exception(PATIENCE)
        # The test may have deleted some.
        if error and error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise error


@pytest.fixture(scope="session")
def take_topics(brokers: str) -> Iterator[Callable[[], Cluster]]:
    """What returns a new prefix with all topics. A test runs while those of the last are deleted,
    and those of the next are created: it takes a second until every partition has its leader.
    """

    def renew(last: Cluster | None) -> Cluster:
        if last:
            _delete_topics(last)
        return _with_topics(brokers)

    with ThreadPoolExecutor(1) as background:
        prepared = background.submit(_with_topics, brokers)
        taken: Cluster | None = None

        def take() -> Cluster:
            nonlocal prepared, taken
            last, taken = taken, prepared.result()
            prepared = background.submit(renew, last)
            return taken

        yield take


@pytest.fixture
def bare_kafka(brokers: str) -> Cluster:
    """The broker under a topic prefix of the test's own, without topics."""
    return _without_topics(brokers)


@pytest.fixture
def kafka(take_topics: Callable[[], Cluster]) -> Cluster:
    """The broker under a topic prefix of the test's own, with all topics, two partitions each."""
    return take_topics()


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    for name in [name for name in os.environ if name.startswith("LINKSTATUS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)  # the developer's `.env` does not count
    return Shell(monkeypatch, capsys, DATA_DIR=str(tmp_path / "data"))


def _with_cluster(shell: Shell, cluster: Cluster) -> Shell:
    shell.set(BROKERS=cluster.brokers, TOPIC_PREFIX=cluster.prefix, PARTITIONS="2")
    return shell


@pytest.fixture
def linkstatus(shell: Shell, kafka: Cluster) -> Shell:
    """The shell with a cluster that has all topics."""
    return _with_cluster(shell, kafka)


@pytest.fixture
def bare_linkstatus(shell: Shell, bare_kafka: Cluster) -> Shell:
    """The shell with a cluster without topics."""
    return _with_cluster(shell, bare_kafka)
