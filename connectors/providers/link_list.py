"""The interface of a provider whose API lists its payment links. No I/O.

A list only names the links. An import asks the provider about each of them, as a lookup does: the
documents describe that answer, and it has the payment, too.
"""

from collections.abc import Generator
from typing import Any, NamedTuple, Protocol, runtime_checkable

from connectors.providers.base import ApiRequest, ApiResponse
from schemas import ids


class LinkIds(NamedTuple):
    """The ids of links, each once. `refused` says of each item without an id where it is."""

    ids: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


# Yields requests, receives responses, and returns the ids.
LinkList = Generator[ApiRequest, ApiResponse, LinkIds]


@runtime_checkable
class LinkListApi(Protocol):
    """A provider whose API lists its payment links."""

    def list_links(self, start: int, end: int, now: int) -> LinkList:
        """Yield the API requests for the links that were created in a period; times in
        microseconds, `end` exclusive.

        Raises RetryableApiError, ListRefused.
        """


def ids_of(place: str, found: list[Any]) -> LinkIds:
    """Return the ids, each once. An item without an id is refused alone."""
    good = [one for one in found if ids.is_identifier(one)]
    bad = [f"{place}.{n}: has no id" for n, one in enumerate(found) if not ids.is_identifier(one)]
    return LinkIds(tuple(dict.fromkeys(good)), tuple(bad))
