"""Fixtures for the tests of connectors."""

from collections.abc import Iterator

import pytest

from tests.connectors.sandbox import sandboxes


@pytest.fixture(autouse=True)
def _close_simulators() -> Iterator[None]:
    yield
    sandboxes.close_all()
