"""An import: window by window, killed and continued, never faster than its rate."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.http.caller import ATTEMPTS, Caller, ProviderAway
from connectors.http.retry_queue import rate_limit
from connectors.imports.run import CHUNK, MOST_SILENT, Importer, Job, Summary, Window
from connectors.imports.topics import KnownLinks
from connectors.kafka.sync_producer import Record
from connectors.providers.ipint import IPint
from connectors.providers.link_list import LinkIds
from schemas.records import ImportWindow, Status
from schemas.topics import message_key
from tests.connectors.lookup.harness import Api, new_ipint
from tests.support.running import client_of

SOON = (0.001, 0.002)


class AskAgain(IPint):
    """iPint, if it did not forbid questions about invoices that have ended."""

    final_after_end = False


class Killed(BaseException):
    pass


class FakeTopics:
    """Keeps what an import writes; the import is killed before the write of number `kill_at`."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.kill_at = kill_at
        self.published: list[Record] = []
        self.windows: dict[str, ImportWindow] = {}

    def _write(self) -> None:
        if self.kill_at == 0:
            raise Killed
        if self.kill_at is not None:
            self.kill_at -= 1

    def publish(self, records: Iterable[Record]) -> None:
        self._write()
        self.published += records

    def note(self, window: ImportWindow) -> None:
        self._write()
        self.windows[window["window"]] = window

    def links(self) -> list[str]:
        return [key.decode().removeprefix("ipint:") for key, _, _ in self.published]


def window(name: str, *links: str, over: bool = True, refused: Sequence[str] = ()) -> Window:
    async def listed(_: Caller) -> LinkIds:
        return LinkIds(links, tuple(refused))

    return Window(name, listed, over)


def job_of(provider: IPint | None = None, **options: Any) -> Job:
    return Job("ipint", provider or new_ipint(), closed_elsewhere=False, **options)


async def run(
    topics: FakeTopics,
    *windows: Window,
    api: Api | None = None,
    job: Job | None = None,
    known: Mapping[str, Status] | None = None,
    per_second: float = 1e6,
) -> Summary:
    rows = ((message_key("ipint", link), status) for link, status in (known or {}).items())
    async with client_of(api or Api()) as client:
        caller = Caller(client, rate_limit(per_second), SOON)
        importer = Importer(
            job or job_of(), topics, caller, KnownLinks("ipint", rows), dict(topics.windows)
        )
        return await importer.run(windows)


async def test_answer_is_published_as_received_and_as_an_import() -> None:
    api, topics = Api(a=["COMPLETED"]), FakeTopics()
    before = time.time()
    summary = await run(
        topics, window("d", "a"), api=api, job=replace(job_of(), closed_elsewhere=True)
    )
    ((key, body, headers),) = topics.published
    expected = await api.answer(httpx.Request("GET", "http://ipint.test/invoice?id=a"))
    assert (key, body) == (b"ipint:a", expected.content)
    texts = dict(headers)
    assert {name: texts[name] for name in texts.keys() - {"received-at", "callback-id"}} == {
        "provider": b"ipint",
        "source": b"import",
        "verified": b"1",
        "content-type": b"application/json",
        "lookup-link": b"a",
        "lookup-status": b"200",
        "closed-elsewhere": b"1",
    }
    assert before - 1 <= int(texts["received-at"]) / 1000 <= time.time(), "now, not then"
    assert (summary.windows, summary.new, summary.known, summary.is_complete) == (1, 1, 0, True)


async def test_second_run_asks_and_publishes_nothing() -> None:
    api, topics = Api(), FakeTopics()
    windows = window("d1", "a", "b"), window("d2"), window("d3", "c")
    await run(topics, *windows, api=api)
    first = topics.links(), dict(topics.windows)
    summary = await run(topics, *windows, api=api)
    assert (topics.links(), topics.windows) == first
    assert (summary.windows, summary.covered, summary.new) == (0, 3, 0)
    assert sorted(api.requested) == ["a", "b", "c"]
    again = await run(topics, *windows, api=api, job=job_of(again=True))
    assert (again.windows, sorted(topics.links())) == (3, ["a", "a", "b", "b", "c", "c"])


async def test_day_that_is_not_over_is_listed_again() -> None:
    topics = FakeTopics()
    await run(topics, window("today", "b", over=False))
    assert not topics.windows["today"]["complete"]
    await run(topics, window("today", "a", "b", over=False), known={"b": "PAID"})
    await run(topics, window("today", "a", "b", "c"), known={"a": "PAID", "b": "CREATED"})
    assert topics.links() == ["b", "a", "b", "c"], "a is newer, and comes before b"
    assert topics.windows["today"]["complete"]


async def test_known_links_are_counted_and_paid_ones_left_out() -> None:
    known: dict[str, Status] = {"paid": "PAID", "expired": "EXPIRED", "open": "CREATED"}
    links = window("d", "paid", "expired", "open", "new")
    topics = FakeTopics()
    summary = await run(topics, links, known=known, job=job_of(AskAgain(new_ipint().config)))
    assert (summary.new, summary.known, summary.skipped) == (1, 2, 1)
    assert topics.links() == ["expired", "new", "open"]
    topics = FakeTopics()
    await run(topics, links, known=known, job=job_of(AskAgain(new_ipint().config), again=True))
    assert topics.links() == ["expired", "new", "open", "paid"]


async def test_link_that_has_ended_is_never_asked_again_where_that_is_forbidden() -> None:
    api, topics = Api(), FakeTopics()
    known: dict[str, Status] = {"paid": "PAID", "cancelled": "CANCELLED", "open": "PROCESSING"}
    await run(topics, window("d", *known), known=known, api=api, job=job_of(again=True))
    assert api.requested == ["open"]


async def test_dry_run_asks_and_writes_nothing() -> None:
    api, topics = Api(), FakeTopics()
    summary = await run(
        topics, window("d", "a", "b"), api=api, known={"a": "CREATED"}, job=job_of(publish=False)
    )
    assert (summary.new, summary.known) == (1, 1)
    assert (api.requested, topics.published, topics.windows) == ([], [], {})


async def test_link_that_the_provider_does_not_know_is_named_and_not_published() -> None:
    topics = FakeTopics()
    summary = await run(topics, window("d", "a", "b", "c"), api=Api(b=[404], c=[400]))
    assert summary.not_found == ["b"]
    assert not summary.is_complete
    assert topics.links() == ["a", "c"], "the rules dead-letter another refusal, with its reason"
    assert topics.windows["d"]["complete"], "it is an answer"


async def test_link_without_an_answer_leaves_its_window_to_the_next_run() -> None:
    api, topics = Api(b=[503]), FakeTopics()
    summary = await run(topics, window("d", "a", "b", "c", refused=["x: has no id"]), api=api)
    assert (summary.unanswered, summary.refused) == (["b"], ["d, x: has no id"])
    assert api.requested.count("b") == ATTEMPTS
    assert topics.links() == ["a", "c"]
    assert not topics.windows["d"]["complete"]
    api.answers["b"] = ["COMPLETED"]
    summary = await run(topics, window("d", "a", "b", "c"), api=api)
    assert summary.is_complete
    assert topics.windows["d"]["complete"]


async def test_provider_that_is_away_ends_the_import() -> None:
    links = [f"l{n}" for n in range(MOST_SILENT + 1)]
    api = Api(**{link: [503] for link in links})
    with pytest.raises(ProviderAway, match="ipint does not answer: GET invoice answered 503"):
        await run(FakeTopics(), window("d", *links), api=api)
    assert set(api.requested) == set(links[:MOST_SILENT])


async def test_failures_apart_do_not_end_the_import() -> None:
    failing = {f"l{n}": [503] for n in (0, 1, 3, 4)}
    summary = await run(FakeTopics(), window("d", *(f"l{n}" for n in range(5))), api=Api(**failing))
    assert summary.unanswered == [*failing]


async def test_import_keeps_its_rate() -> None:
    started = time.monotonic()
    await run(FakeTopics(), window("d", *(f"l{n:02}" for n in range(30))), per_second=20)
    # A burst of a second's calls, then one each 50 ms.
    assert time.monotonic() - started >= 0.5


windows_of_links = st.lists(
    st.lists(st.integers(0, 60).map(str), max_size=2 * CHUNK + 3, unique=True), max_size=4
)


@given(links=windows_of_links, kills=st.lists(st.integers(0, 12), max_size=3))
@settings(deadline=None, max_examples=30)
def test_killed_import_goes_on_and_covers_every_link(
    links: list[list[str]], kills: list[int]
) -> None:
    """After any kills, each link of each window is published; a kill repeats one chunk at most."""
    windows = [window(f"d{number}", *of_day) for number, of_day in enumerate(links)]
    topics = FakeTopics()
    happened = 0
    for kill_at in [*kills, None]:
        topics.kill_at = kill_at
        try:
            asyncio.run(run(topics, *windows))
        except Killed:
            happened += 1
    expected = sorted(link for of_day in links for link in of_day)
    published = topics.links()
    assert set(published) == set(expected)
    assert len(published) <= len(expected) + CHUNK * happened
    assert all(topics.windows[f"d{n}"]["complete"] for n in range(len(links)))
    topics.kill_at = 0
    assert asyncio.run(run(topics, *windows)).new == 0, "nothing is left to write"
