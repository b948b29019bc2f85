"""The board with many links: how long each page takes, and how fast it follows the topics.

SQL fills the tables, because the way through Kafka would take an hour.
"""

import itertools
import json
import statistics
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text

from connectors.board.board import Board, BoardConfig
from connectors.board.database import tables as t
from connectors.board.database.figures import FATES, day_of
from connectors.board.database.money import SHOWN
from connectors.board.database.store import Store
from connectors.board.feed.writer import store_messages
from connectors.board.process import application
from connectors.clock import micros_now
from connectors.http.server import Address, probes
from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas import topics
from schemas.times import DAY
from streams.admin import topics as admin
from tests.connectors.board.samples import Make
from tests.support.codecs import CODECS
from tests.support.postgres import Postgres
from tests.support.serving import serving

_MARK = "NUMBER"
_BATCH = 2_000
_PAGES = {
    "overview": "/",
    "links": "/links",
    "links, status": "/links?provider=ping&status=PAID",
    "links, 1 character": "/links?q=0",
    "links, id": "/links?q=000777",
    "link": "/links/ping/000777",
    "orders": "/orders",
    "orders, state": "/orders?state=OPEN",
    "orders, provider": "/orders?provider=ping",
    "orders, waiting": "/orders?waits_for=any",
    "orders, closed": "/orders?counts_as=closed&currency=EUR",
    "links, paid in a day": "/links?counts_as=paid&currency=EUR&since=2d&until=1d",
    "order": "/orders/ping/000777",
    "anomalies": "/anomalies",
    "dead letters": "/dead-letters",
    "dead letters, reason": "/dead-letters?reason=9",
    "notices": "/notices",
    "money": "/money",
}


def measure(
    brokers: str, folder: Path, sizes: tuple[int, ...], calls: int, say: Any
) -> dict[str, dict[str, float]]:
    """Return the 95th percentile of each page in milliseconds, and the records that the board
    stores a second, each by database and number of links.
    """
    server = Postgres().start()
    try:
        urls = {
            f"{name}, {links:,} links": (links, url)
            for links in sizes
            for name, url in (
                ("SQLite", f"sqlite:///{folder / f'board-{links}.sqlite'}"),
                ("PostgreSQL", server.url(server.database())),
            )
        }
        columns = {
            name: _of_database(brokers, url, n, calls, say) for name, (n, url) in urls.items()
        }
    finally:
        server.stop()
    rows = next(iter(columns.values()))
    return {row: {name: figures[row] for name, figures in columns.items()} for row in rows}


def _of_database(brokers: str, url: str, links: int, calls: int, say: Any) -> dict[str, float]:
    started = time.monotonic()
    with closing(Store(url)) as store:
        _fill(store, links)
        say(f"  {store.engine.name}: {links:,} links in {time.monotonic() - started:.0f} s")
        rates = [_rate(store, links + n * _BATCH) for n in range(5)]
    cluster, address = Cluster(brokers, f"{uuid.uuid4().hex}."), Address("127.0.0.1", 0)
    admin.create(cluster, topics.all_topics(PROVIDERS), partitions=1, replication=1)
    board = Board(BoardConfig(cluster, CODECS, tuple(PROVIDERS), url, address))
    with serving(application(board, probes(lambda: None))) as served_at:
        pages = dict(_pages(served_at, calls))
    board.store.close()
    return {"records stored a second": round(statistics.median(rates)), **pages}


def _pages(url: str, calls: int) -> Iterator[tuple[str, float]]:
    headers = {"accept": "text/html"}
    with httpx.Client(base_url=url, headers=headers, timeout=60.0, trust_env=False) as client:
        for name, path in _PAGES.items():
            times = []
            client.get(path).raise_for_status()
            for _ in range(calls):
                began = time.perf_counter()
                client.get(path).raise_for_status()
                times.append(1000 * (time.perf_counter() - began))
            yield name, round(sorted(times)[int(0.95 * calls)], 1)


def _rate(store: Store, first: int) -> float:
    """Store a batch of new links and their events; return the records a second."""
    make = Make()
    names = [f"{n:06}" for n in range(first, first + _BATCH // 2)]
    messages = [
        *make.statuses(*(make.status(name) for name in names)),
        *(make.message(topics.LINK_EVENTS, make.event(f"e-{name}", name)) for name in names),
    ]
    began = time.perf_counter()
    store_messages(store, CODECS, messages)
    return len(messages) / (time.perf_counter() - began)


def _fill(store: Store, links: int) -> None:
    """Fill the tables with so many links, each with two events and an order, and one anomaly,
    dead letter and notice for each fifty.
    """
    make, now = Make(), micros_now()
    letter = {"topic": "'dead-letters'", "partition": "0", '"offset"': "i", "at": "{at}"}
    letter |= {
        "reason": "'no JSON ' || (i % 10)",
        "stage": "'normalize'",
        "origin": "'callbacks.ping/0/7'",
    }
    letter |= {"link_key": "'ping:' || {id}", "headers": "'[]'"}
    name = {"provider": "'ping'", "link_id": "{id}"}
    few = links // 50
    _insert(
        store,
        t.link_status.name,
        links,
        now,
        make.status(_MARK, order_id=_MARK, status="PAID"),
        name
        | {"status": "CASE i % 4 WHEN 0 THEN 'CREATED' ELSE 'PAID' END", "order_id": "{id}"}
        | {"changed_at": "{at}", "version": "1"},
    )
    for event in ("e", "f"):
        _insert(
            store,
            t.link_events.name,
            links,
            now,
            make.event(event + _MARK, _MARK),
            name
            | {"event_id": f"'{event}' || {{id}}", "delivery": "'c'", "received_at": "{at}"}
            | {"partition": "0", '"offset"': "i"},
        )
    order = {"provider": "'ping'", "order_id": "{id}"}
    _insert(
        store,
        t.orders.name,
        links,
        now,
        make.order(_MARK),
        order
        | {"state": "CASE i % 4 WHEN 0 THEN 'OPEN' ELSE 'SETTLED' END"}
        | {"changed_at": "{at}", "version": "1"},
    )
    counted = {"provider": "'ping'", "name": "{id}", "at": "{at}", "currency": "'EUR'"}
    for rows, measure in ((links, "paid"), (links // 2, "closed")):
        _insert(
            *(store, t.counted_rows.name, rows, now, None),
            counted | {"measure": f"'{measure}'"},
        )
    _insert(
        store,
        t.order_close.name,
        links // 2,
        now,
        make.close("c" + _MARK, _MARK),
        order | {"event_id": "'c' || {id}", "decided_at": "{at}"},
    )
    _insert(
        store,
        t.anomalies.name,
        few,
        now,
        make.anomaly("a" + _MARK, _MARK),
        name | {"event_id": "'a' || {id}", "kind": "'STALE'", "at": "{at}"},
    )
    _insert(
        store,
        t.notices.name,
        few,
        now,
        make.notice("n" + _MARK),
        {"event_id": "'n' || {id}", "provider": "'peach'", "kind": "'batch'"}
        | {"subject_id": "{id}", "received_at": "{at}"},
    )
    _insert(store, t.dead_letters.name, few, now, None, letter)
    with store.engine.begin() as connection:
        connection.execute(t.money.insert(), list(_money(now)))
    with store.engine.begin() as connection:
        connection.execute(text("ANALYZE"))


def _money(now: int) -> Iterator[dict[str, Any]]:
    """The sums of a month in three currencies, as any number of links leave them."""
    sums = {"number": 1_000, "amount_minor": 123_456_789, "unknown": 1}
    for n, currency, provider in itertools.product(range(30), ("EUR", "GBP", "ZAR"), PROVIDERS):
        for measure in {*SHOWN, *FATES}:
            key = {"day": day_of(now - n * DAY), "currency": currency, "provider": provider}
            yield {**key, "measure": measure, **sums}


def _insert(
    store: Store, table: str, rows: int, now: int, record: Any, columns: dict[str, str]
) -> None:
    """Insert rows that differ by their number: `{id}` is it with six digits, `{at}` a time."""
    number = (
        "printf('%06d', i)" if store.engine.name == "sqlite" else "lpad(cast(i AS text), 6, '0')"
    )
    place = {"id": number, "at": f"{now} - ({rows} - i) * 1000000"}
    values = {name: value.format(**place) for name, value in columns.items()}
    if record is not None:
        values["record"] = f"replace(:record, '{_MARK}', {number})"
    first, following = "SELECT CAST(0 AS bigint)", "SELECT i + 1 FROM n WHERE i + 1 < :rows"
    series = f"WITH RECURSIVE n(i) AS ({first} UNION ALL {following})"
    select = f"{series} SELECT {', '.join(values.values())} FROM n"
    with store.engine.begin() as connection:
        statement = text(f"INSERT INTO {table} ({', '.join(values)}) {select}")
        connection.execute(
            statement, {"rows": rows} | ({"record": json.dumps(record)} if record else {})
        )
