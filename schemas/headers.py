"""The headers of records: ours, and those that another producer may have written in any form."""

from collections.abc import Iterable
from operator import methodcaller
from typing import Any

Headers = list[tuple[str, bytes]]

# The interpreter's quick calls do not notice that the method fails, and the list that it returns
# then crashes the process.
_headers = methodcaller("headers")


def headers_of(message: Any) -> Headers:
    """Return the headers of a `confluent_kafka.Message`, in order.

    A record with a header whose name is not UTF-8 has none: the client cannot read them.
    """
    try:
        return pairs(_headers(message) or [])
    except (SystemError, UnicodeDecodeError):
        # The next call would return a broken list.
        message.set_headers([])
        return []


def pairs(headers: Iterable[Any]) -> Headers:
    """Return headers as a client reads them, with an empty value where there is none (null)."""
    return [(name, value or b"") for name, value in headers]
