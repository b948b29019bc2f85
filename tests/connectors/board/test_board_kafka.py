"""The board follows real topics: nothing lost or doubled over restarts, and the page is live."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from connectors import process
from connectors.board import Board, BoardConfig, application, open_board, queries
from connectors.board.rows import Batch
from connectors.board.store import Store
from connectors.kafka import Cluster
from connectors.process import Address
from schemas import codec, topics
from schemas.codec import SchemaAway
from schemas.topics import Topic
from streams import admin, child
from streams.embedded import Broker
from tests.connectors.board.conftest import EACH_DATABASE, PROVIDERS
from tests.connectors.board.samples import Make
from tests.waiting import PATIENCE

pytestmark = pytest.mark.kafka
# Compacted topics take no record without a key.
KEY = b"ping:a"


@asynccontextmanager
async def producing(cluster: Cluster, transaction: str | None = None) -> AsyncIterator[Any]:
    producer = AIOKafkaProducer(
        **cluster.aiokafka(), acks="all", transactional_id=transaction, linger_ms=5
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def put(cluster: Cluster, topic: Topic[Any], *values: bytes) -> None:
    async with producing(cluster) as producer:
        for value in values:
            await producer.send_and_wait(cluster.topic(topic.name), value, KEY, partition=0)


def encoded(topic: Topic[Any], *records: Any) -> list[bytes]:
    assert topic.codec is not None
    return [topic.codec.encode(record) for record in records]


async def until(fulfilled: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(fulfilled):
            await asyncio.sleep(0.02)


@asynccontextmanager
async def following(cluster: Cluster, database_url: str) -> AsyncIterator[Board]:
    address = Address("127.0.0.1", 0)
    board = open_board(BoardConfig(cluster, PROVIDERS, database_url, address))
    task = asyncio.create_task(board.follow())
    try:
        yield board
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def known(store: Store, *link_ids: str) -> Callable[[], bool]:
    return lambda: all(queries.link(store, "ping", link_id) for link_id in link_ids)


@EACH_DATABASE
async def test_it_goes_on_where_it_stopped(kafka: Cluster, database_url: str, make: Make) -> None:
    await put(kafka, topics.LINK_STATUS, *encoded(topics.LINK_STATUS, make.status("a")))
    async with following(kafka, database_url) as board:
        await until(known(board.store, "a"))
        assert board.why_not() is None
    # What it has stored it does not read again.
    store = Store(database_url)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM link_status")
    store.close()
    await put(kafka, topics.LINK_STATUS, *encoded(topics.LINK_STATUS, make.status("b")))
    async with following(kafka, database_url) as board:
        await until(known(board.store, "b"))
        assert queries.link(board.store, "ping", "a") is None


async def test_its_store_is_not_closed_under_a_batch_that_is_being_stored(
    kafka: Cluster, database_url: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What that had open was left to the garbage collector, which complained in another test."""
    order: list[str] = []
    storing, go_on = threading.Event(), threading.Event()

    def apply(store: Store, batch: Batch) -> None:
        storing.set()
        assert go_on.wait(PATIENCE)
        order.append("stored")

    monkeypatch.setattr(Store, "apply", apply)
    monkeypatch.setattr(Store, "close", lambda store: order.append("closed"))
    await put(kafka, topics.LINK_STATUS, *encoded(topics.LINK_STATUS, make.status("a")))
    board = open_board(BoardConfig(kafka, PROVIDERS, database_url, Address("127.0.0.1", 0)))
    following = asyncio.create_task(board.follow())
    await until(storing.is_set)
    following.cancel()
    await asyncio.wait({following}, timeout=1)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await following
    board.store.engine.dispose()
    assert order == ["stored", "closed"]


@EACH_DATABASE
async def test_a_broken_record_stops_nothing(kafka: Cluster, database_url: str, make: Make) -> None:
    good = encoded(topics.LINK_EVENTS, make.event("e1", "a"))
    await put(kafka, topics.LINK_EVENTS, b"\x00\x01", *good, b"")
    await put(kafka, topics.LINK_STATUS, b"?", *encoded(topics.LINK_STATUS, make.status("a")))
    async with following(kafka, database_url) as board:
        await until(lambda: queries.totals(board.store)["unreadable"] == 3)
        found = queries.link(board.store, "ping", "a")
        assert found is not None
        assert len(found.events) == 1


@EACH_DATABASE
async def test_a_database_that_fails_for_a_while_ends_nothing(
    kafka: Cluster, database_url: str, make: Make
) -> None:
    await put(kafka, topics.LINK_STATUS, *encoded(topics.LINK_STATUS, make.status("a")))
    async with following(kafka, database_url) as board:
        await until(known(board.store, "a"))
        with board.store.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE link_status RENAME TO put_aside")
        await put(kafka, topics.LINK_STATUS, *encoded(topics.LINK_STATUS, make.status("b")))
        await until(lambda: "cannot be used" in (board.why_not() or ""))
        with board.store.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE put_aside RENAME TO link_status")
        await until(known(board.store, "a", "b"))
        await until(lambda: board.why_not() is None)


async def test_a_schema_that_nobody_can_name_now_ends_nothing(
    kafka: Cluster, database_url: str, make: Make
) -> None:
    def away(number: int) -> str:
        raise SchemaAway(f"schema {number} cannot be looked up")

    codec.ask(away)
    try:
        good = encoded(topics.LINK_STATUS, make.status("a"))
        await put(kafka, topics.LINK_STATUS, b"\0\0\0\0\7what another release wrote", *good)
        async with following(kafka, database_url) as board:
            await until(lambda: board.why_not() == "schema 7 cannot be looked up")
            codec.ask(None)
            await until(known(board.store, "a"))
            assert queries.totals(board.store)["unreadable"] == 1
    finally:
        codec.ask(None)


async def test_what_was_never_committed_is_never_shown(
    kafka: Cluster, database_url: str, make: Make
) -> None:
    topic = kafka.topic(topics.LINK_STATUS.name)
    values = encoded(topics.LINK_STATUS, make.status("aborted"), make.status("committed"))
    async with producing(kafka, "board-test") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, values[0], KEY, partition=0)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, values[1], KEY, partition=0)
    async with following(kafka, database_url) as board:
        await until(known(board.store, "committed"))
        assert queries.link(board.store, "ping", "aborted") is None


@EACH_DATABASE
async def test_a_topic_made_anew_is_read_from_its_beginning(
    kafka: Cluster, database_url: str, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    old = [make.status("a", version=n, status="PAID") for n in range(1, 10)]
    await put(kafka, topics.LINK_STATUS, *encoded(topics.LINK_STATUS, *old))
    async with following(kafka, database_url) as board:
        await until(known(board.store, "a"))
    await make_anew(kafka, kafka.topic(topics.LINK_STATUS.name))
    await put(kafka, topics.LINK_STATUS, *encoded(topics.LINK_STATUS, make.status("a")))

    async with following(kafka, database_url) as board:
        store = board.store
        await until(
            lambda: (
                (f := queries.link(store, "ping", "a")) is not None
                and f.status["status"] == "CREATED"
            )
        )
    assert "link-status/0 was made anew" in caplog.text


async def make_anew(cluster: Cluster, topic: str) -> None:
    client = AIOKafkaAdminClient(**cluster.aiokafka())
    await client.start()
    try:
        await client.delete_topics([topic])
        async with asyncio.timeout(PATIENCE):
            while not await is_absent(client, topic):
                await asyncio.sleep(0.02)
            await client.create_topics([NewTopic(topic, 2, 1)])
            while await is_absent(client, topic):
                await asyncio.sleep(0.02)
    finally:
        await client.close()


async def is_absent(client: Any, topic: str) -> bool:
    return bool((await client.describe_topics([topic]))[0]["error_code"])


async def test_topics_that_are_missing_are_waited_for(
    bare_kafka: Cluster, database_url: str
) -> None:
    async with following(bare_kafka, database_url) as board:
        await until(lambda: "missing topics" in (board.why_not() or ""))


async def test_without_a_broker_it_is_not_ready_and_tries_on(database_url: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        cluster = Cluster(f"127.0.0.1:{nobody.getsockname()[1]}")
        async with following(cluster, database_url) as board:
            await until(lambda: "cannot read from Kafka" in (board.why_not() or ""))


@pytest.mark.slow
async def test_it_outlives_its_broker(tmp_path: Path, database_url: str, make: Make) -> None:
    broker = Broker(tmp_path, port=child.free_port())
    broker.start()
    try:
        cluster = Cluster(broker.brokers)
        admin.create(cluster, topics.all_topics(PROVIDERS), partitions=1, replication=1)
        async with following(cluster, database_url) as board:
            await until(lambda: board.why_not() is None)
            broker.kill()
            await until(lambda: "cannot read from Kafka" in (board.why_not() or ""))
            broker.start()
            await put(cluster, topics.LINK_STATUS, *encoded(topics.LINK_STATUS, make.status("a")))
            await until(known(board.store, "a"))
            # Asked every few seconds, and so maybe after the first record.
            await until(lambda: board.why_not() is None)
    finally:
        broker.stop()


async def test_it_serves_what_flows_and_ends_with_listeners(
    kafka: Cluster, database_url: str, make: Make
) -> None:
    address = Address("127.0.0.1", child.free_port())
    board = open_board(BoardConfig(kafka, PROVIDERS, database_url, address))
    server = process.http_server(application(board, process.probes(board.why_not)), address)
    services: list[Callable[[], Awaitable[None]]]
    services = [board.follow, partial(board.end_streams, server)]
    running = asyncio.create_task(process.run(server, services))
    base_url = f"http://{address.host}:{address.port}"
    async with httpx.AsyncClient(base_url=base_url, timeout=PATIENCE) as client:
        await until_ready(client)
        async with client.stream("GET", "/stream") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            await put(kafka, topics.LINK_STATUS, *encoded(topics.LINK_STATUS, make.status("a")))
            data = await next_data(lines)
            assert data["link_id"] == "a"
            assert (await client.get("/links/ping/a")).status_code == 200
            server.should_exit = True
            async with asyncio.timeout(PATIENCE):
                assert [line async for line in lines if line.startswith('data: {"link_id')] == []
    await asyncio.wait_for(running, PATIENCE)


async def until_ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.02)


async def next_data(lines: AsyncIterator[str]) -> Any:
    async with asyncio.timeout(PATIENCE):
        async for line in lines:
            if line.startswith("data: "):
                return json.loads(line.removeprefix("data: "))
    raise AssertionError("the stream ended")
