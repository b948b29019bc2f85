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
from sqlalchemy import Table

from connectors.board.board import Board
from connectors.board.database import links
from connectors.board.database import tables as t
from connectors.board.database.paging import count
from connectors.board.database.projection import Batch
from connectors.board.database.store import Store
from connectors.board.process import application
from connectors.http import server as process
from connectors.http.server import Address
from connectors.kafka.cluster import Cluster
from schemas import topics
from schemas.codec import Codecs, SchemaAway
from schemas.topics import Topic
from streams.admin import topics as admin
from streams.local.broker import Broker
from tests.connectors.board.conftest import EACH_DATABASE, PROVIDERS, config, following
from tests.connectors.board.samples import Make
from tests.support.codecs import CODECS
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until, until_threaded

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


async def put(cluster: Cluster, topic: Topic[Any], *records: Any) -> None:
    """Write records, or bytes as they are, to partition 0."""
    async with producing(cluster) as producer:
        for record in records:
            await producer.send_and_wait(
                cluster.topic(topic.name), encoded(topic, record), KEY, partition=0
            )


def encoded(topic: Topic[Any], record: Any) -> bytes:
    assert topic.schema is not None
    return record if isinstance(record, bytes) else CODECS.encode(topic.schema, record)


async def until_known(board: Board, *link_ids: str) -> None:
    def known() -> bool:
        return all(links.find(board.store, "ping", link_id) for link_id in link_ids)

    await until_threaded(known, f"links {link_ids}")


async def until_count(board: Board, table: Table, number: int) -> None:
    await until_threaded(lambda: count(board.store, table) == number, f"{number} in {table}")


async def until_following(board: Board) -> None:
    await until(lambda: board.why_not() is None, "the board to follow")


async def until_reason(board: Board, text: str) -> None:
    await until(lambda: text in (board.why_not() or ""), text)


@EACH_DATABASE
async def test_board_continues_at_its_stored_position(
    kafka: Cluster, database_url: str, make: Make
) -> None:
    await put(kafka, topics.LINK_STATUS, make.status("a"))
    async with following(config(database_url, kafka)) as board:
        await until_known(board, "a")
        assert board.why_not() is None
    # What it has stored it does not read again.
    store = Store(database_url)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM link_status")
    store.close()
    await put(kafka, topics.LINK_STATUS, make.status("b"))
    async with following(config(database_url, kafka)) as board:
        await until_known(board, "b")
        assert links.find(board.store, "ping", "a") is None


async def test_database_closes_after_the_current_batch(
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
    await put(kafka, topics.LINK_STATUS, make.status("a"))
    board = Board(config(database_url, kafka))
    following = asyncio.create_task(board.follow())
    await until(storing.is_set, "a batch")
    following.cancel()
    await asyncio.wait({following}, timeout=1)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await following
    board.store.engine.dispose()
    assert order == ["stored", "closed"]


@EACH_DATABASE
async def test_broken_record_stops_nothing(kafka: Cluster, database_url: str, make: Make) -> None:
    await put(kafka, topics.LINK_EVENTS, b"\x00\x01", make.event("e1", "a"), b"")
    await put(kafka, topics.LINK_STATUS, b"?", make.status("a"))
    async with following(config(database_url, kafka)) as board:
        await until_count(board, t.unreadable, 3)
        found = links.find(board.store, "ping", "a")
        assert found is not None
        assert len(found.events) == 1


@EACH_DATABASE
async def test_board_survives_a_database_outage(
    kafka: Cluster, database_url: str, make: Make
) -> None:
    await put(kafka, topics.LINK_STATUS, make.status("a"))
    async with following(config(database_url, kafka)) as board:
        await until_known(board, "a")
        with board.store.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE link_status RENAME TO put_aside")
        await put(kafka, topics.LINK_STATUS, make.status("b"))
        await until_reason(board, "cannot be used")
        with board.store.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE put_aside RENAME TO link_status")
        await until_known(board, "a", "b")
        await until_following(board)


async def test_board_waits_for_a_schema_that_cannot_be_looked_up(
    kafka: Cluster, database_url: str, make: Make
) -> None:
    away = True

    def find(number: int) -> None:
        if away:
            raise SchemaAway(f"schema {number} cannot be looked up")

    foreign = b"\0\0\0\0\7what another release wrote"
    await put(kafka, topics.LINK_STATUS, foreign, make.status("a"))
    async with following(config(database_url, kafka, codecs=Codecs(find=find))) as board:
        await until_reason(board, "schema 7 cannot be looked up")
        away = False
        await until_known(board, "a")
        assert count(board.store, t.unreadable) == 1


async def test_aborted_records_are_never_shown(
    kafka: Cluster, database_url: str, make: Make
) -> None:
    topic = kafka.topic(topics.LINK_STATUS.name)
    names = ("aborted", "committed")
    values = [encoded(topics.LINK_STATUS, make.status(name)) for name in names]
    async with producing(kafka, "board-test") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, values[0], KEY, partition=0)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, values[1], KEY, partition=0)
    async with following(config(database_url, kafka)) as board:
        await until_known(board, "committed")
        assert links.find(board.store, "ping", "aborted") is None


@EACH_DATABASE
async def test_recreated_topic_is_read_from_its_beginning(
    kafka: Cluster, database_url: str, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    old = [make.status("a", version=n, status="PAID") for n in range(1, 10)]
    await put(kafka, topics.LINK_STATUS, *old)
    async with following(config(database_url, kafka)) as board:
        await until_known(board, "a")
    await recreate(kafka, kafka.topic(topics.LINK_STATUS.name))
    await put(kafka, topics.LINK_STATUS, make.status("a"))

    def is_created() -> bool:
        link = links.find(board.store, "ping", "a")
        return link is not None and link.status["status"] == "CREATED"

    async with following(config(database_url, kafka)) as board:
        await until_threaded(is_created, "the new status")
    assert "link-status/0 was recreated" in caplog.text


@pytest.mark.parametrize("running", [True, False])
async def test_e2_recreated_topic_that_grew_past_the_position_is_read_from_its_beginning(
    kafka: Cluster, database_url: str, make: Make, running: bool
) -> None:
    async with contextlib.AsyncExitStack() as boards:
        await put(kafka, topics.NOTICES, *map(make.notice, "abc"))
        async with following(config(database_url, kafka)) as board:
            await until_count(board, t.notices, 3)
        if running:
            board = await boards.enter_async_context(following(config(database_url, kafka)))
        await recreate(kafka, kafka.topic(topics.NOTICES.name))
        await put(kafka, topics.NOTICES, *map(make.notice, "defghi"))
        if not running:
            board = await boards.enter_async_context(following(config(database_url, kafka)))
        await until_count(board, t.notices, 9)


async def recreate(cluster: Cluster, topic: str) -> None:
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


async def test_board_waits_for_missing_topics(bare_kafka: Cluster, database_url: str) -> None:
    async with following(config(database_url, bare_kafka)) as board:
        await until_reason(board, "missing topics")


async def test_board_without_a_broker_is_not_ready_and_retries(database_url: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        cluster = Cluster(f"127.0.0.1:{closed.getsockname()[1]}")
        async with following(config(database_url, cluster)) as board:
            await until_reason(board, "cannot read from Kafka")


@pytest.mark.slow
async def test_board_survives_a_broker_outage(
    tmp_path: Path, database_url: str, make: Make
) -> None:
    broker = Broker(tmp_path, port=free_port())
    broker.start()
    try:
        cluster = Cluster(broker.brokers)
        admin.create(cluster, topics.all_topics(PROVIDERS), partitions=1, replication=1)
        async with following(config(database_url, cluster)) as board:
            await until_following(board)
            broker.kill()
            await until_reason(board, "cannot read from Kafka")
            broker.start()
            await put(cluster, topics.LINK_STATUS, make.status("a"))
            await until_known(board, "a")
            # The check runs every few seconds, so it may come after the first record.
            await until_following(board)
    finally:
        broker.stop()


async def test_board_stops_while_clients_listen(
    kafka: Cluster, database_url: str, make: Make
) -> None:
    address = Address("127.0.0.1", free_port())
    board = Board(config(database_url, kafka, address=address, token=None))
    server = process.http_server(application(board, process.probes(board.why_not)), address)
    services: list[Callable[[], Awaitable[None]]]
    services = [board.follow, partial(board.end_streams, server)]
    running = asyncio.create_task(process.run(server, services))
    base_url = f"http://{address.host}:{address.port}"
    await until_following(board)
    async with (
        httpx.AsyncClient(base_url=base_url, timeout=PATIENCE) as client,
        client.stream("GET", "/stream") as stream,
        asyncio.timeout(PATIENCE),
    ):
        lines = stream.aiter_lines()
        assert await anext(lines) == "retry: 2000"
        await put(kafka, topics.LINK_STATUS, make.status("a"))
        assert json.loads((await next_data(lines)).removeprefix("data: "))["link_id"] == "a"
        assert (await client.get("/links/ping/a")).status_code == 200
        server.should_exit = True
        assert [line async for line in lines if line.startswith('data: {"link_id')] == []
    await asyncio.wait_for(running, PATIENCE)


async def next_data(lines: AsyncIterator[str]) -> str:
    return await anext(line async for line in lines if line.startswith("data: "))
