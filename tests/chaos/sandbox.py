"""The simulated providers, as the harness controls them: held plays, and single links."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from connectors.providers.simulator import Callback

Doc = dict[str, Any]
_PAUSE_SECONDS = 0.3


async def call_until_answered(call: Callable[[], Awaitable[httpx.Response]]) -> None:
    """Call again until the answer is no server error. Raises HTTPStatusError for a client error."""
    while True:
        try:
            response = await call()
            if response.status_code < 500:
                response.raise_for_status()
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(_PAUSE_SECONDS)


@dataclass(frozen=True, slots=True)
class StagedPlay:
    """A play that has happened at the providers, and whose callbacks are not sent yet."""

    planned: Doc
    callbacks: list[tuple[str, Callback]]

    @property
    def links(self) -> list[tuple[str, str]]:
        return [(link["provider"], link["link_id"]) for link in self.planned["links"]]


@dataclass(frozen=True, slots=True)
class SandboxControl:
    """The sandbox's control API, and its database. The sandbox may be killed at any time."""

    client: httpx.AsyncClient
    url: str
    database: Path

    async def stage(self, links: int, seed: int, name: str) -> StagedPlay:
        """Run a play. If the sandbox does not answer, run it again with other ids."""
        for attempt in range(1000):
            run = f"{name}-{attempt}"
            play = {"links": links, "seed": seed, "run": run, "hold": True, "spread_seconds": 0}
            with contextlib.suppress(httpx.TransportError):
                response = await self.client.post(f"{self.url}/control/scenarios", json=play)
                # With a full disk the sandbox answers 500.
                if response.status_code < 500:
                    response.raise_for_status()
                    return StagedPlay(response.json(), held_callbacks(self.database, run))
            await asyncio.sleep(_PAUSE_SECONDS)
        raise RuntimeError("the sandbox never answered")

    async def create(self, link: Doc) -> None:
        await call_until_answered(lambda: self.client.post(f"{self.url}/control/links", json=link))

    async def move(self, provider: str, link_id: str, word: str) -> None:
        url, body = f"{self.url}/control/links/{provider}/{link_id}", {"steps": [word]}
        await call_until_answered(lambda: self.client.post(url, json=body))


def held_callbacks(database: Path, run: str) -> list[tuple[str, Callback]]:
    """Return each callback of a held play once."""
    select = "SELECT provider, body, content_type, url, id FROM deliveries"
    rows = query(database, f"{select} WHERE run = ?", run)
    return list({row[4]: (row[0], Callback(*row[1:])) for row in rows}.values())


def delivered(database: Path) -> list[tuple[str, bytes]]:
    """Return the callbacks that the providers delivered and that the edge acknowledged."""
    where = "WHERE run = '' AND state = 'delivered'"
    return query(database, f"SELECT provider, body FROM deliveries {where}")


def count_undelivered(database: Path) -> int:
    """Return how many callbacks the providers still try to deliver."""
    where = "WHERE run = '' AND state = 'pending'"
    return len(query(database, f"SELECT number FROM deliveries {where}"))


def operations(database: Path) -> list[Doc]:
    """Return the operations on orders that Ping has seen, in order."""
    where = "WHERE provider = 'ping' AND kind = 'log' ORDER BY number"
    rows = query(database, f"SELECT document FROM documents {where}")
    return [json.loads(row[0]) for row in rows]


def query(database: Path, statement: str, *values: str) -> list[Any]:
    """Return the rows of a query of a SQLite database that another process writes."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(statement, values).fetchall()
