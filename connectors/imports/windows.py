"""The windows of an import: the days on which links were created, or a file."""

from collections.abc import Iterator
from functools import partial

from connectors.clock import micros_now
from connectors.http.caller import Caller, ProviderAway
from connectors.imports import file
from connectors.imports.run import Window
from connectors.providers.link_list import LinkIds, LinkListApi
from schemas.times import DAY, day_of

# How long after its end a day is over: the provider's clock is not ours.
_LATE = 3_600_000_000


def days(account: str, provider: LinkListApi, start: int, end: int, now: int) -> Iterator[Window]:
    """Yield the days from `start` to `end`, the beginnings of days, exclusive (microseconds)."""
    for day in range(start, end, DAY):
        links = partial(_list, account, provider, day)
        yield Window(str(day_of(day)), links, day + DAY + _LATE <= now)


async def _list(account: str, provider: LinkListApi, day: int, caller: Caller) -> LinkIds:
    try:
        return await caller.perform(lambda: provider.list_links(day, day + DAY, micros_now()))
    except ProviderAway as error:
        raise ProviderAway(f"{account} does not list its links: {error}") from None


def of_file(body: bytes, links: LinkIds) -> Window:
    """Return the window of a file with these links."""

    async def read(_: Caller) -> LinkIds:
        return links

    return Window(file.window_of(body), read, over=True)
