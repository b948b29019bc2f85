"""What the client makes of a provider's answers."""

from datetime import UTC, datetime

import pytest

from connectors.http.client import retry_after
from connectors.providers.base import ApiResponse


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("999999999999", 3600.0),
        ("Fri, 01 Mar 2024 12:00:30 GMT", 30.0),
        ("Fri, 01 Mar 2024 11:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("soon", None),
        ("-3", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(text: str, seconds: float | None) -> None:
    now = datetime(2024, 3, 1, 12, 0, 0, tzinfo=UTC)
    assert retry_after(ApiResponse(429, b"", {"Retry-After": text}), now) == seconds
