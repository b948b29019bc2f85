"""What all tests share: one embedded broker a run, and topics of its own for each test."""

import os
import uuid
from collections.abc import Iterator

import hypothesis
import pytest

from connectors.kafka import Cluster
from connectors.registry import PROVIDERS
from schemas.topics import all_topics
from streams import admin
from streams.embedded import Broker

# No deadline: how long an example takes says more of the machine than of the code.
# HYPOTHESIS_PROFILE=thorough is for a long look at the rules.
hypothesis.settings.register_profile("quick", max_examples=8, deadline=None)
hypothesis.settings.register_profile("usual", max_examples=50, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what is read now")


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


@pytest.fixture
def bare_kafka(brokers: str) -> Cluster:
    """The broker under a topic prefix of the test's own, without topics."""
    return Cluster(brokers=brokers, prefix=f"{uuid.uuid4().hex[:10]}.")


@pytest.fixture
def kafka(bare_kafka: Cluster) -> Cluster:
    """The broker under a topic prefix of the test's own, with all topics, two partitions each."""
    admin.create(bare_kafka, all_topics(PROVIDERS), partitions=2, replication=1)
    return bare_kafka
