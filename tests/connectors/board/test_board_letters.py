"""Dead letters in the store: chosen as on their topic, with what became of them."""

import html
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.board import finding
from connectors.board.keep import keep
from connectors.board.rows import Message
from connectors.board.store import Store
from connectors.letters.letter import Letter, Place, Wanted
from schemas import topics
from tests.connectors.board.conftest import TOKEN
from tests.connectors.board.samples import AT, Make

REASONS = ("no JSON", "unknown status 'A_B'", "100% Ünknown", "")
ORIGINS = ("callbacks.ping/0/1", "callbacks.peach/0/2", "link-events/1/3", "callbacks.ping2/0/1")
KEYS = (b"ping:l-1", b"ping:l-2", b"peach:l-1", b"ping2:l-1", None)


def could_be(key: bytes | None, origin: str) -> bool:
    """A raw record's key names the provider whose topic it is on."""
    provider = (key or b"").partition(b":")[0].decode()
    return not key or origin.startswith((f"callbacks.{provider}/", "link-events"))


def messages() -> Iterator[Message]:
    kinds = [(key, origin) for key in KEYS for origin in ORIGINS if could_be(key, origin)]
    for n, (key, origin) in enumerate(kinds * 2):
        headers = (
            ("stage", b"track" if n % 3 else b"normalize"),
            ("reason", REASONS[n % 4].encode()),
            ("origin", origin.encode()),
        )
        yield Message("dead-letters", n % 2, n, AT // 1000 + n, key, b"{}", headers)


MESSAGES = list(messages())
LETTERS = [
    Letter(Place(m.partition, m.offset), m.timestamp * 1000, m.key, m.headers, m.value)
    for m in MESSAGES
]


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
def test_the_store_chooses_as_the_topic_does(store: Store, **words: Any) -> None:
    if not words["provider"]:
        words["link_id"] = ""
    keep(store, MESSAGES)
    wanted = Wanted(**words)
    found = finding.letters(store, wanted, show="all", limit=100, after=None)
    expected = {one.place for one in LETTERS if wanted.includes(one)}
    assert {Place(row["partition"], row["offset"]) for row in found.page.rows} == expected
    assert found.number == len(expected)
    by_reason = finding.letters_by_reason(store, wanted, show="all")
    assert sum(number for _, _, number in by_reason) == len(expected)


async def test_it_is_counted_before_it_is_done(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    keep(store, MESSAGES)
    browser = {"Accept": "text/html", "Authorization": f"Bearer {TOKEN}"}
    shown = (await client.get("/dead-letters/replay?reason=json", headers=browser)).text
    number = sum(Wanted(reason="json").includes(one) for one in LETTERS)
    assert f"Replay {number} dead letters?" in shown
    counted = (await client.get("/dead-letters/replay?provider=peach")).json()
    assert counted == {"count": sum(Wanted(provider="peach").includes(one) for one in LETTERS)}
    keep(store, [make.message(topics.REPLAYS, make.replay("r1"))])
    assert (await client.get("/dead-letters/replay?reason=json")).json() == {"count": number - 1}


@pytest.mark.parametrize(
    "query", ["place=x", "since=yesterday", "until=2030-01-01T00:00", "link=l-1"]
)
async def test_a_wrong_choice_is_named(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/dead-letters/replay?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, query.split("=")[0])


async def test_a_link_tells_of_its_callbacks_that_could_not_be_read(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    """Who looked at the link saw nothing of them, and could not choose them on the page."""
    own = [one for one in LETTERS if Wanted(provider="ping", link_id="l-1").includes(one)]
    browser = {"Accept": "text/html"}
    keep(store, [*make.statuses(make.status("l-1"), make.status("l-3")), *MESSAGES])
    shown = (await client.get("/links/ping/l-1", headers=browser)).text
    assert f"{len(own)} callbacks of this link could not be read" in shown
    (way,) = re.findall(r'href="(/dead-letters\?[^"]+)"', shown)
    listed = (await client.get(html.unescape(way), headers=browser)).text
    assert set(re.findall(r'<tr role="row" id="(\d/\d+)">', listed)) == {
        str(one.place) for one in own
    }
    assert "could not be read" not in (await client.get("/links/ping/l-3", headers=browser)).text
    unknown = (await client.get("/links/ping/l-2", headers=browser)).text
    (way,) = re.findall(r'href="(/dead-letters\?[^"]+)"', unknown)
    assert "ping:l-2" in (await client.get(html.unescape(way), headers=browser)).text
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    choice = {"provider": "ping", "link": "l-1"}
    counted = await client.get("/dead-letters/replay", params=choice, headers=bearer)
    assert counted.json() == {"count": len(own)}
