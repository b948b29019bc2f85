"""One running system for each module of the end-to-end tests."""

from collections.abc import Iterator

import pytest

from connectors.kafka.cluster import Cluster
from tests.e2e.system import System
from tests.support.sandboxing import Providers


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """What the systems of a module have beside the defaults."""
    return {}


@pytest.fixture(scope="module")
def system(
    settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory, brokers: str
) -> Iterator[System]:
    """`up` on the run's broker."""
    folder = tmp_path_factory.mktemp("system")
    system = System(folder, LINKSTATUS_BROKERS=brokers, **settings).start()
    yield system
    system.stop()


@pytest.fixture(scope="module")
def cluster(system: System) -> Cluster:
    return system.cluster


@pytest.fixture(scope="module")
def providers(system: System) -> Providers:
    return Providers(system)
