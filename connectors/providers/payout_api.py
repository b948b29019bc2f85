"""The interface of a provider whose API lists what it paid out. No I/O."""

import json
from collections.abc import Callable, Generator, Iterable
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from connectors.providers import api, payload
from connectors.providers.base import ApiRequest, ApiResponse, Refusal, Unreadable
from schemas.payouts import PayoutLine


class PayoutLines(NamedTuple):
    """The lines of an answer or a file. `refused` are the items that cannot be read."""

    lines: tuple[PayoutLine, ...] = ()
    refused: tuple[Refusal, ...] = ()


# Yields requests, receives responses, and returns the bodies as one JSON document.
Payouts = Generator[ApiRequest, ApiResponse, bytes]


@runtime_checkable
class PayoutApi(Protocol):
    """A provider whose API lists what it paid out."""

    # Calls a second that the provider allows; None if it states no limit.
    PAYOUT_CALLS_PER_SECOND: ClassVar[float | None]
    # The first time (microseconds, UTC) that the provider answers for.
    PAYOUTS_SINCE: ClassVar[int]

    def can_look_up(self) -> bool:
        """Return whether credentials for the provider's API are configured."""

    def payouts(self, start: int, end: int, now: int) -> Payouts:
        """Yield the API requests for one UTC day; times in microseconds, `end` exclusive.

        Raises RetryableApiError, ListRefused.
        """

    def read_payouts(self, body: bytes) -> PayoutLines:
        """Return the lines in what `payouts` returned, those of other days, too. Raises
        Unreadable.
        """


def lines_of(place: str, items: Any, read: Callable[[Any], Iterable[PayoutLine]]) -> PayoutLines:
    """Return the lines of all items of a list. An item that `read` refuses is refused alone, with
    all its lines. Raises Unreadable if it is no list.
    """
    if not isinstance(items, list | tuple):
        raise Unreadable(f"{place}: not a list")
    lines: list[PayoutLine] = []
    refused: list[Refusal] = []
    for number, item in enumerate(items):
        try:
            lines.extend([*read(item)])
        except Unreadable as error:
            refused.append(Refusal(f"{place}.{number}", error))
    return PayoutLines(tuple(lines), tuple(refused))


def page_of(identifier: str, body: bytes) -> bytes:
    """Return one page of the list with this id, verbatim in JSON, for `pages_of`."""
    name = json.dumps(identifier).encode()
    return api.combined({"id": name, "page": body})


def pages_of(pages: Any, *path: str) -> list[tuple[str, Any]]:
    """Return each item of the pages with the id of its list; `path` leads to the items of a page.

    Raises Unreadable if there is no list.
    """
    if not isinstance(pages, list):
        raise Unreadable("pages: not a list")
    found: list[tuple[str, Any]] = []
    for number, page in enumerate(pages):
        items = payload.member(page, "page", *path)
        if not isinstance(items, list):
            raise Unreadable(f"page {number}: {'.'.join(path)} is not a list")
        found += [(str(payload.member(page, "id")), item) for item in items]
    return found
