"""The lookup process under kill -9: the next process answers what is unanswered."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.kafka.cluster import Cluster
from tests.connectors.kafka.test_task_consumer import all_committed
from tests.connectors.lookup.harness import invoice, request
from tests.connectors.sandbox.sandboxes import free_socket, served
from tests.support.ports import free_port
from tests.support.reading import read_all, write_all
from tests.support.waiting import until, until_threaded

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LINKS = {f"i{number}" for number in range(60)}
LIVES = 2


class Api:
    """iPint's API: answers `answers` requests, then none until `open`."""

    def __init__(self) -> None:
        self.answers = 0
        self.open = asyncio.Event()
        self.hanging = 0
        self.requested: set[str] = set()

    async def answer(self, request: Request) -> Response:
        self.requested.add(request.query_params["id"])
        if self.answers == 0 and not self.open.is_set():
            self.hanging += 1
            await self.open.wait()
        self.answers = max(0, self.answers - 1)
        body = invoice(request.query_params["id"], "COMPLETED")
        return Response(body, media_type="application/json")


async def started(cluster: Cluster, api_url: str, folder: Path) -> Process:
    environment = {
        **os.environ,
        "LINKSTATUS_BROKERS": cluster.brokers,
        "LINKSTATUS_TOPIC_PREFIX": cluster.prefix,
        "LINKSTATUS_DATA_DIR": str(folder),
        "LINKSTATUS_HTTP__PORT": str(free_port()),
        "LINKSTATUS_IPINT__API_URL": api_url,
        "LINKSTATUS_IPINT__API_KEY": "key",
        "LINKSTATUS_IPINT__API_SECRET": "s3cret",
        "LINKSTATUS_LOOKUPS__PER_SECOND": "1000",
    }
    command = (sys.executable, "-m", "streams.cli", "lookup")
    return await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=DEVNULL, stderr=DEVNULL
    )


def answered(cluster: Cluster) -> set[str]:
    return {
        dict(message.headers() or [])["lookup-link"].decode()  # type: ignore[union-attr]
        for message in read_all(cluster, "callbacks.ipint")
    }


async def test_lookups_survive_kill_9(kafka: Cluster, tmp_path: Path) -> None:
    write_all(kafka, "lookups", [(b"ipint:broken", b"junk"), (None, b"junk")])
    requests = [(b"ipint:" + link.encode(), request(link, "PAID")) for link in sorted(LINKS)]
    write_all(kafka, "lookups", requests)
    api = Api()
    app = Starlette(routes=[Route("/invoice", api.answer)])

    async def ended(process: Process, number: signal.Signals) -> None:
        process.send_signal(number)
        await process.wait()

    # Conditions run in threads: the API is served by this loop.
    async with served(app, free_socket()) as url:
        for life in range(1, LIVES + 1):
            api.answers, before = 10, api.hanging
            process = await started(kafka, url, tmp_path)
            await until(lambda before=before: api.hanging > before, f"life {life} at work")  # type: ignore[misc]
            await ended(process, signal.SIGKILL)
            assert len(answered(kafka)) >= 10
        api.open.set()
        process = await started(kafka, url, tmp_path)
        try:
            await until_threaded(lambda: answered(kafka) == LINKS, "every answer")
            group = "lookup-ipint"
            await until_threaded(lambda: all_committed(kafka, group, "lookups"), "every offset")
        finally:
            await ended(process, signal.SIGTERM)
        # A repeat of a dead letter has the same origin.
        letters = read_all(kafka, "dead-letters")
        assert len({dict(letter.headers() or [])["origin"] for letter in letters}) == 2
        api.requested.clear()
        write_all(kafka, "lookups", [(b"ipint:last", request("last", reason="POLL"))])
        process = await started(kafka, url, tmp_path)
        try:
            await until(lambda: "last" in api.requested, "the last process")
        finally:
            await ended(process, signal.SIGTERM)
        assert api.requested == {"last"}
