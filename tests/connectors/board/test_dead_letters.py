"""Filters of dead letters: the store selects what the topic does."""

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.board.database import dead_letters
from connectors.board.database.projection import Message
from connectors.board.database.store import Store
from connectors.triage.dead_letter import DeadLetter, Place
from connectors.triage.filter import Filter
from schemas import topics
from tests.connectors.board.conftest import BROWSER, Site
from tests.connectors.board.samples import AT, save

REASONS = ("no JSON", "unknown status 'A_B'", "100% Ünknown", "")
ORIGINS = ("callbacks.ping/0/1", "callbacks.peach/0/2", "link-events/1/3", "callbacks.ping2/0/1")
KEYS = (b"ping:l-1", b"ping:l-2", b"peach:l-1", b"ping2:l-1", None)


def is_possible(key: bytes | None, origin: str) -> bool:
    """A raw record's key names the provider whose topic it is on."""
    provider = (key or b"").partition(b":")[0].decode()
    return not key or origin.startswith((f"callbacks.{provider}/", "link-events"))


def messages() -> Iterator[Message]:
    kinds = [(key, origin) for key in KEYS for origin in ORIGINS if is_possible(key, origin)]
    for n, (key, origin) in enumerate(kinds * 2):
        headers = (
            ("stage", b"track" if n % 3 else b"normalize"),
            ("reason", REASONS[n % 4].encode()),
            ("origin", origin.encode()),
        )
        yield Message("dead-letters", n % 2, n, AT // 1000 + n, key, b"{}", headers)


MESSAGES = list(messages())
LETTERS = [
    DeadLetter(Place(m.partition, m.offset), m.timestamp * 1000, m.key, m.headers, m.value)
    for m in MESSAGES
]


def selected(**parameters: Any) -> set[str]:
    """The places of the dead letters that a filter of the topic selects."""
    filter = Filter(**parameters)
    return {str(one.place) for one in LETTERS if filter.matches(one)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=st.lists(st.sampled_from([one.place for one in LETTERS]), max_size=2),
    reason=st.sampled_from(["", "json", "A_B", "%", "unknown", "nothing"]),
    stage=st.sampled_from(["", "track", "normalize"]),
    provider=st.sampled_from(["ping", "peach", "ping2", "p", "_ing", ""]),
    link_id=st.sampled_from(["", "", "l-1", "l-2"]),
    since=st.one_of(st.none(), st.integers(AT, AT + 20_000)),
    until=st.one_of(st.none(), st.integers(AT, AT + 20_000)),
)
def test_store_selects_as_the_filter_does(store: Store, **parameters: Any) -> None:
    if not parameters["provider"]:
        parameters["link_id"] = ""
    save(store, MESSAGES)
    filter, expected = Filter(**parameters), selected(**parameters)
    found = dead_letters.search(store, filter, show="all", limit=100)
    assert {f"{row['partition']}/{row['offset']}" for row in found.rows} == expected
    assert dead_letters.count(store, filter, show="all") == len(expected)
    by_reason = dead_letters.count_by_reason(store, filter, show="all")
    assert sum(number for _, _, number in by_reason) == len(expected)


async def test_replay_is_counted_before_it_starts(site: Site) -> None:
    save(site.store, MESSAGES)
    number = len(selected(reason="json"))
    shown = await site.page("/dead-letters/replay?reason=json", headers=BROWSER)
    assert f"Replay {number} dead letters?" in shown
    counted = await site.get("/dead-letters/replay?provider=peach")
    assert counted == {"count": len(selected(provider="peach"))}
    site.put(topics.REPLAYS, site.make.replay("r1"))
    assert await site.get("/dead-letters/replay?reason=json") == {"count": number - 1}


@pytest.mark.parametrize(
    "query", ["place=x", "since=yesterday", "until=2030-01-01T00:00", "link=l-1"]
)
async def test_wrong_filter_is_named(site: Site, query: str) -> None:
    answer = await site.get(f"/dead-letters/replay?{query}", 422)
    assert list(answer["fields"]) == [query.split("=")[0]]


async def test_link_names_its_dead_letters(site: Site) -> None:
    def way_to_dead_letters(page: str) -> str:
        (way,) = re.findall(r'href="(/dead-letters\?[^"]+)"', page)
        return html.unescape(way)

    own = selected(provider="ping", link_id="l-1")
    site.put(topics.LINK_STATUS, site.make.status("l-1"), site.make.status("l-3"))
    save(site.store, MESSAGES)
    shown = await site.page("/links/ping/l-1")
    assert f"{len(own)} callbacks of this link: " in shown
    listed = await site.page(way_to_dead_letters(shown))
    assert set(re.findall(r'<tr role="row" id="(\d/\d+)">', listed)) == own
    assert "No rule understood" not in await site.page("/links/ping/l-3")
    unknown = await site.page("/links/ping/l-2", 404)
    assert "ping:l-2" in await site.page(way_to_dead_letters(unknown))
    counted = await site.get("/dead-letters/replay?provider=ping&link=l-1")
    assert counted == {"count": len(own)}


async def test_list_counts_no_more_than_a_page_needs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.board.pages.content.MOST_COUNTED", 2)
    site.put_dead_letters("no JSON", "odd", "odd")
    site.put(topics.ANOMALIES, *(site.make.anomaly(f"a{n}") for n in range(3)))
    page = await site.page("/dead-letters")
    for text in ("2 open dead letters or more", "2× odd", "Replay 2+ …"):
        assert text in page
    assert "2 open anomalies or more" in await site.page("/anomalies")
