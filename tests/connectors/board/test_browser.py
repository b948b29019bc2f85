"""The live page in a real Chromium, by mouse and keyboard, over a real board on a real broker."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry

from connectors.board import replays
from connectors.board.actions import marking
from connectors.board.board import Board
from connectors.board.database import tables as t
from connectors.board.database.paging import count
from connectors.board.process import application
from connectors.http import server as process
from connectors.http.server import Address
from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.providers.base import Provider
from schemas import codec, topics
from schemas.records import Replay
from schemas.topics import Topic
from tests.connectors.board.browser import Page, browsing, chromium
from tests.connectors.board.conftest import TOKEN, config
from tests.connectors.board.samples import Make
from tests.connectors.board.test_cancellations import calling, ping
from tests.support.codecs import CODECS
from tests.support.ports import free_port
from tests.support.reading import read_all
from tests.support.waiting import PATIENCE, until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no Chromium here: apt-get install chromium"),
]

NARROW = {"width": 360, "height": 740}
BODY = b'{"id": "b", "card": {"number": "4111111111111111", "cvv": "123"}, "state": "paid"}'


class World:
    """A board that runs, and what is put on its topics."""

    def __init__(self, cluster: Cluster, board: Board, url: str) -> None:
        self.board = board
        self.url = url
        self.make = Make()
        self.cluster = cluster
        self._producer = Producer(sync_producer.settings(cluster))

    def put(self, topic: Topic[Any], record: Any, headers: dict[str, str] | None = None) -> None:
        """On partition 0, returning once it is there."""
        value = CODECS.encode(topic.schema, record) if topic.schema else record
        self._producer.produce(
            self.cluster.topic(topic.name),
            value,
            b"ping:l-1",
            partition=0,
            headers={name: text.encode() for name, text in (headers or {}).items()},
        )
        assert self._producer.flush(30) == 0

    def link(self, link_id: str, **changes: Any) -> None:
        now = time.time_ns() // 1000
        times = {"first_seen_at": now, "changed_at": now}
        self.put(topics.LINK_STATUS, self.make.status(link_id, **(times | changes)))

    def dead_letter(self, reason: str, body: bytes = BODY) -> None:
        headers = {"provider": "ping", "source": "callback", "reason": reason}
        added = {"stage": "normalize", "origin": "callbacks.ping/0/0"}
        self.put(topics.DEAD_LETTERS, body, headers | added)


@asynccontextmanager
async def serving(cluster: Cluster, database_url: str, **apis: Provider) -> AsyncIterator[World]:
    address = Address("127.0.0.1", free_port())
    url = f"http://{address.host}:{address.port}"
    closed_port_url = f"http://127.0.0.1:{free_port()}"
    processes = {"board": url, "settle": closed_port_url}
    board = Board(config(database_url, cluster, address=address, processes=processes, apis=apis))
    # What other tests of this process have measured is not this board's.
    probes = process.probes(board.why_not, CollectorRegistry())
    server = process.http_server(application(board, probes), address)
    services: list[Callable[[], Awaitable[None]]]
    services = [board.follow, partial(board.end_streams, server)]
    running = asyncio.create_task(process.run(server, services))
    try:
        await until(lambda: board.why_not() is None, "the board to follow")
        with pytest.MonkeyPatch.context() as waiting:
            # A page that comes back shows what was done, however busy the machine is.
            for module in (marking, replays):
                waiting.setattr(module, "WAIT_SECONDS", PATIENCE)
            yield World(cluster, board, url)
    finally:
        server.should_exit = True
        await asyncio.wait_for(running, PATIENCE)


@pytest.fixture
async def world(kafka: Cluster, database_url: str) -> AsyncIterator[World]:
    async with serving(kafka, database_url) as world:
        yield world


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with browsing() as page:
        yield page
        assert page.errors == []


async def test_page_shows_events_live(world: World, page: Page) -> None:
    await page.go(world.url + "/")
    await page.shows("No links yet")
    await page.until("document.getElementById('live').textContent === 'live'")
    world.link("flowing-1")
    await page.shows("flowing-1")
    world.link("flowing-1", status="PAID", version=2)
    await page.until("document.querySelector('#links tbody .word.good').textContent === 'paid'")
    world.put(topics.ANOMALIES, {**world.make.anomaly("a1"), "at": time.time_ns() // 1000})
    await page.shows("The payer paid less than requested")
    await page.shows("settle does not answer")
    await page.until("document.title.startsWith('(2) Overview')")
    assert {url for url in page.requested if not url.startswith(world.url)} == set()


async def test_search_finds_a_link_and_its_raw_body(world: World, page: Page) -> None:
    world.put(topics.callbacks("ping"), BODY, {"tl-signature": "s3cr3t", "source": "callback"})
    world.put(topics.LINK_EVENTS, world.make.event("e1", "l-1", origin="callbacks.ping/0/0"))
    world.put(topics.LINK_EVENTS, world.make.event("e2", "l-1", origin="callbacks.ping/0/99"))
    world.link("l-1", payment_ids=["pay-77"])
    world.link("other")
    await page.go(world.url + "/")
    await page.shows("other")
    await page.press("/")
    await page.write("pay-7")
    await page.press("Enter")
    await page.until("location.search === '?q=pay-7'")
    await page.shows("l-1")
    assert "other" not in await page.text()
    await page.press("j")
    await page.press("Enter")
    await page.until("location.pathname === '/links/ping/l-1'")
    await page.shows("claims created")
    assert "cvv" not in await page.text()
    await page.click("summary")
    await page.shows('"cvv": "•••"')
    shown = await page.text()
    assert "411111•••1111" in shown
    assert "4111111111111111" not in shown
    assert "s3cr3t" not in shown
    await page.click("li:last-child summary")
    await page.shows("No longer on Kafka")
    # What is open stays so when the page is refreshed under it.
    world.link("l-1", status="OPENED", version=2, payment_ids=["pay-77"])
    await page.until("document.querySelector('.lead .word').textContent === 'opened'")
    assert await page.value("document.querySelectorAll('details[open]').length") == 2


async def test_form_filters_links(world: World, page: Page) -> None:
    world.link("a-1")
    world.link("b-1", provider="peach", status="PAID")
    await page.go(world.url + "/links")
    await page.shows("b-1")
    await page.value("document.querySelector('select[name=status]').value = 'PAID'")
    await page.click(".filters button")
    await page.until("location.search.includes('status=PAID')")
    await page.shows("b-1")
    assert "a-1" not in await page.text()
    await page.click(".filters a")
    await page.shows("a-1")


async def test_click_replays_a_dead_letter(world: World, page: Page) -> None:
    world.dead_letter("first")
    world.dead_letter("second")
    world.dead_letter("unrelated")
    await page.go(f"{world.url}/dead-letters/0/0")
    await page.shows("411111•••1111")
    assert "not yet" in await page.text()
    assert await page.value("document.querySelectorAll('form[method=post]').length") == 0
    await page.click("#dead-letter a[href^='/sign-in']")
    await page.until("document.activeElement.name === 'token'")
    await page.write("guess")
    await page.press("Enter")
    await page.shows("This is not the token")
    page.errors.clear()  # of the 401
    await page.until("document.activeElement.name === 'token'")
    await page.write(TOKEN)
    await page.press("Enter")
    await page.until("location.pathname === '/dead-letters/0/0'")  # where one was
    await page.click("nav a[href='/dead-letters']")
    await page.shows("Replay 3")

    await page.click("a[href='/dead-letters/0/0']")
    await sign(page)
    await page.click("form.replay button")
    await page.shows("1 published again")
    await page.shows("Ada on the page, from 127.0.0.1")
    assert [m.value() for m in read_all(world.cluster, "callbacks.ping")] == [BODY]

    await page.go(f"{world.url}/dead-letters?reason=SECOND")
    await page.click("a.button")
    await page.shows("Replay 1 dead letter?")
    await page.click("form.replay button")
    await page.until("location.pathname === '/dead-letters'")
    await page.shows("Replay 1 …")  # the unrelated one is left
    published = read_all(world.cluster, "callbacks.ping")
    assert [dict(m.headers() or [])["replay-of"] for m in published] == [
        b"dead-letters/0/0",
        b"dead-letters/0/1",
    ]
    found = (CODECS.decode(codec.REPLAY, m.value()) for m in read_all(world.cluster, "replays"))
    notes: list[Replay] = sorted(found, key=lambda note: note["at"])
    assert [note["reason"] for note in notes] == ["first", "second"]
    assert notes[1]["by"].startswith("someone on the page")

    await page.go(f"{world.url}/dead-letters/0/0")
    await page.click("footer form[action='/sign-out'] button")
    await page.shows("To replay, sign in")
    assert await page.value("location.pathname") == "/dead-letters/0/0"
    await page.click("footer a[href^='/sign-in']")
    await page.until("document.activeElement.name === 'token'")


async def sign(page: Page, note: str = "") -> None:
    """Fills in who does it, and why."""
    await page.click("input[name=by]")
    await page.write("Ada")
    if note:
        await page.click("input[name=note]")
        await page.write(note)


async def test_click_resolves_dead_letters(world: World, page: Page) -> None:
    for reason in ("forged", "forged", "unknown status"):
        world.dead_letter(reason)
    await page.go(f"{world.url}/?token={TOKEN}")
    await page.shows("3 open dead letter")
    await page.go(f"{world.url}/dead-letters?reason=FORGED")
    await page.click(".bulk a[href^='/dead-letters/resolve']")
    await page.shows("Resolve 2 dead letters?")
    await sign(page, "a scanner")
    await page.press("Enter")
    await page.until("location.pathname === '/dead-letters'")
    await page.shows("No open dead letters")
    await page.click("nav a[href='/']")
    await page.shows("1 open dead letter")
    # One of them was none after all.
    await page.go(f"{world.url}/dead-letters?show=resolved")
    await page.click("a[href='/dead-letters/0/1']")
    await page.shows("by Ada on the page, from 127.0.0.1")
    await page.shows("a scanner")
    await page.click("form.undo button")
    await page.shows("Resolve it")
    assert await page.value("location.pathname") == "/dead-letters/0/1"
    await page.click("#dead-letter a[href^='/dead-letters/resolve']")
    await page.shows("Resolve 1 dead letter?")
    await page.click("#resolve form button")
    await page.until("location.pathname === '/dead-letters/0/1'")
    await page.shows("A replay reopens it")
    await page.click("form.replay button")
    await page.shows("1 published again")
    await page.until("!document.querySelector('form.undo')")
    assert len(read_all(world.cluster, "notices")) == 4
    assert len(read_all(world.cluster, "callbacks.ping")) == 1


async def test_click_resolves_an_anomaly(world: World, page: Page) -> None:
    world.link("link-1", anomalies=["UNDERPAID"])
    world.put(topics.ANOMALIES, world.make.anomaly("a1"))
    world.put(topics.ANOMALIES, world.make.anomaly("a2"))
    await page.go(f"{world.url}/?token={TOKEN}")
    await page.shows("2× The payer paid less")
    await page.click("#problems a[href^='/anomalies']")
    await page.click("tr[id=a1] td.advice a")
    await page.shows("Resolve 1 anomaly?")
    await sign(page, "asked for the rest")
    await page.press("Enter")
    # The other first: of a page that is still coming neither may be there yet.
    await page.until("location.pathname === '/anomalies' && !!document.getElementById('a2')")
    await page.until("!document.getElementById('a1')")
    await page.click("nav a[href='/links']")
    await page.click("a[href='/links/ping/link-1']")
    await page.shows("by Ada on the page, from 127.0.0.1")
    await page.shows("asked for the rest")
    await page.click("li.noticed form.undo button")
    await page.shows("underpaid reopened")
    assert await page.value("location.pathname") == "/links/ping/link-1"
    assert len(read_all(world.cluster, "notices")) == 2


async def test_page_is_live_again_after_an_error_answer(
    world: World, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser comes back by itself after a lost connection, but not after a 502 or 503."""
    monkeypatch.setattr(world.board.hub, "_max_clients", 0)
    await page.go(world.url + "/")
    await until(lambda: bool(page.errors), "the stream to be refused")
    await page.until("document.getElementById('live').textContent === 'not live'")
    monkeypatch.undo()
    await page.until("document.getElementById('live').textContent === 'live'")
    page.errors.clear()  # of the 503


async def test_another_page_on_this_machine_cannot_replay(world: World, page: Page) -> None:
    """It has our cookie, since cookies do not know ports, and SameSite calls it the same site."""
    world.dead_letter("mine")
    await page.go(f"{world.url}/?token={TOKEN}")
    await page.shows("1 open dead letter")
    form = f"<form method=post action={world.url}/dead-letters/replay><input name=place value=0/0>"
    answer = f"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n{form}<button>win</button>"

    async def evil(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer.encode())
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(evil, "127.0.0.1", 0)
    async with other:
        await page.go(f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}/")
        await page.click("button")
        await page.shows("did not come from a page of this board")
    page.errors.clear()  # of the 403
    assert read_all(world.cluster, "callbacks.ping") == []


async def test_click_cancels_a_link(kafka: Cluster, database_url: str, page: Page) -> None:
    async with calling() as api, serving(kafka, database_url, ping=ping(api)) as world:
        world.link("l-9")
        await page.go(f"{world.url}/?token={TOKEN}")
        await page.click("a[href='/links/ping/l-9']")
        await page.click("#link a.button")
        await page.shows("cannot be undone")
        await page.click("#cancel form a")  # leave it
        await page.until("location.pathname === '/links/ping/l-9'")
        assert api.requests == []
        await page.click("#link a.button")
        await sign(page)
        await page.click("#cancel form button")
        await page.shows("Cancellation by Ada on the page, from 127.0.0.1: it is cancelled")
        assert [path for _, path, _ in api.requests] == ["/api/v1/payment_links/l-9/cancel"]
        assert len(read_all(kafka, "notices")) == 1
        # The next event reports the status.
        world.link("l-9", status="CANCELLED", version=2)
        await page.until("!document.querySelector('#link a.button')")
        # The board ends before the page does, which would complain that it is away.
        await page.send("Page.navigate", url="about:blank")


async def test_every_page_fits_a_narrow_screen_light_and_dark(world: World, page: Page) -> None:
    long = "x" * 120
    world.link(long, order_id=long, anomalies=["PAID_AFTER_END", "CONFLICTING_END"])
    world.put(topics.LINK_EVENTS, world.make.event("e1", long, reason=long))
    world.put(topics.ORDERS, world.make.order(long, failure=long, state="FAILED"))
    world.put(topics.ANOMALIES, world.make.anomaly("a1", long))
    world.put(topics.RECONCILIATIONS, world.make.reconciled(differences=[long]))
    world.dead_letter(long)
    await until(lambda: count(world.board.store, t.dead_letters) == 1, "the board to have it")
    paths = ["/", "/links", "/orders", "/anomalies", "/dead-letters", "/processes", "/sign-in"]
    paths += [f"/links/ping/{long}", f"/orders/ping/{long}", "/dead-letters/0/0"]
    paths += [
        "/dead-letters/replay",
        "/dead-letters/resolve",
        "/anomalies/resolve",
        "/notices",
        "/reconciliations",
        "/reconciliations/ping/2025-11-01",
        "/nothing",
    ]
    grounds = set()
    for path in paths:
        for dark in (False, True):
            await page.set_screen(**NARROW, dark=dark)
            await page.go(world.url + path)
            wide = await page.value("document.documentElement.scrollWidth")
            assert wide <= NARROW["width"], (path, wide)
            assert await page.value(CONTRAST) >= 4.5, (path, dark)
            grounds.add(await page.value("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2
    page.errors.clear()  # of the 404


async def test_keyboard_reaches_everything(world: World, page: Page) -> None:
    world.link("l-1")
    await page.go(world.url + "/links")
    await page.shows("l-1")
    reached = []
    for _ in range(20):
        await page.press("Tab")
        seen = "[e.tagName, e.name || e.innerText || e.href, getComputedStyle(e).outlineStyle]"
        reached.append(await page.value(f"(e => {seen})(document.activeElement)"))
    names = [name for _, name, _ in reached]
    for name in ("Skip to content", "Orders", "q", "provider", "status", "Show", "l-1"):
        assert name in names, (name, names)
    assert all(outline != "none" for tag, _, outline in reached if tag == "A")


# The least contrast of any text on the page with what is behind it, as WCAG 2 counts it.
CONTRAST = """(() => {
  const probe = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (colour) => {
    probe.clearRect(0, 0, 1, 1);
    probe.fillStyle = colour;
    probe.fillRect(0, 0, 1, 1);
    return Array.from(probe.getImageData(0, 0, 1, 1).data);
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const found = rgb(getComputedStyle(e).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255];
  };
  let least = 21;
  for (const e of document.querySelectorAll('body *')) {
    const own = Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.nodeValue.trim());
    if (!own || !e.getClientRects().length || e.closest('svg')) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    least = Math.min(least, (a + 0.05) / (b + 0.05));
  }
  return least;
})()"""
