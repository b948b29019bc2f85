"""What the tests of connectors share."""

from collections.abc import Iterator

import pytest

from tests.connectors import sandboxes


@pytest.fixture(autouse=True)
def _nothing_stays_simulated() -> Iterator[None]:
    yield
    sandboxes.forget_all()
