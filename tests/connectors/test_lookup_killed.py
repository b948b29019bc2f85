"""The lookup process under kill -9: what it was asked is answered by the next one."""

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

from connectors.kafka import Cluster
from streams.child import free_port
from tests.connectors.sandboxes import free_socket, served
from tests.connectors.test_intake import all_done
from tests.connectors.test_lookup import invoice, request
from tests.reading import read_all, write_all
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LINKS = {f"i{number}" for number in range(60)}
LIVES = 2


class Api:
    """iPint's API: answers so many requests, then none at all till `open`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = 0
        self.open = asyncio.Event()
        self.hanging = 0

    async def answer(self, asked: Request) -> Response:
        link = asked.query_params["id"]
        self.asked.append(link)
        if self.answers == 0 and not self.open.is_set():
            self.hanging += 1
            await self.open.wait()
        self.answers = max(0, self.answers - 1)
        return Response(invoice(link, "COMPLETED"), media_type="application/json")


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


async def test_a_lookup_survives_kill_9(kafka: Cluster, tmp_path: Path) -> None:
    requests = [(b"ipint:" + link.encode(), request(link, "PAID")) for link in sorted(LINKS)]
    write_all(kafka, "lookups", requests)
    api = Api()
    app = Starlette(routes=[Route("/invoice", api.answer)])
    async with served(app, free_socket()) as url:
        for life in range(1, LIVES + 1):
            api.answers, before = 10, api.hanging
            process = await started(kafka, url, tmp_path)
            await until(lambda before=before: api.hanging > before, f"life {life} at work")  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
            assert await process.wait() == -signal.SIGKILL
            assert len(answered(kafka)) >= 10
        api.open.set()
        process = await started(kafka, url, tmp_path)
        try:
            # In a thread: the API is served by this loop.
            async with asyncio.timeout(PATIENCE):
                while await asyncio.to_thread(answered, kafka) != LINKS:
                    pass
                while not await asyncio.to_thread(all_done, kafka, "lookup-ipint", "lookups"):
                    pass
        finally:
            process.terminate()
            await process.wait()
