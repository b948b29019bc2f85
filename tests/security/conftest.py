"""One broker with an authorizer for all tests here."""

from collections.abc import Iterator

import pytest

from tests.security.secured import Secured


@pytest.fixture(scope="package")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    secured = Secured(tmp_path_factory.mktemp("secured"))
    try:
        yield secured.start()
    finally:
        secured.stop()
