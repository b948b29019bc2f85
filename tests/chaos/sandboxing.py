"""The simulated providers, from the harness's side: plays that are held, and single lives."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from connectors.sandbox.simulator import Callback

Doc = dict[str, Any]
_PAUSE_SECONDS = 0.3


async def insist(call: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Calls until there is an answer that is no server error."""
    while True:
        try:
            response = await call()
            if response.status_code < 500:
                return response
        except httpx.TransportError:
            pass
        await asyncio.sleep(_PAUSE_SECONDS)


@dataclass(frozen=True, slots=True)
class Staged:
    """A play that has been lived at the providers, its callbacks still to be sent."""

    planned: Doc
    callbacks: list[tuple[str, Callback]]

    @property
    def links(self) -> list[tuple[str, str]]:
        return [(link["provider"], link["link_id"]) for link in self.planned["links"]]


@dataclass(frozen=True, slots=True)
class SandboxControl:
    """The sandbox's control API, and its memory. The sandbox may be killed at any moment."""

    client: httpx.AsyncClient
    url: str
    database: Path

    async def stage(self, links: int, seed: int, name: str) -> Staged:
        """Lives a play. When it is not known whether it was, it is played anew with other ids."""
        for attempt in range(1000):
            run = f"{name}-{attempt}"
            asked = {"links": links, "seed": seed, "run": run, "hold": True, "spread_seconds": 0}
            try:
                response = await self.client.post(f"{self.url}/control/play", json=asked)
                response.raise_for_status()
            except httpx.TransportError:
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return Staged(response.json(), held(self.database, run))
        raise RuntimeError("the sandbox never answered")

    async def create(self, link: Doc) -> None:
        response = await insist(lambda: self.client.post(f"{self.url}/control/links", json=link))
        response.raise_for_status()

    async def move(self, provider: str, link_id: str, word: str) -> None:
        url, words = f"{self.url}/control/links/{provider}/{link_id}", {"words": [word]}
        (await insist(lambda: self.client.post(url, json=words))).raise_for_status()


def held(database: Path, run: str) -> list[tuple[str, Callback]]:
    """The callbacks owed for a play, each once."""
    rows = _rows(database, "SELECT provider, body, content_type, url, id", "play = ?", run)
    found = {row[4]: (row[0], Callback(*row[1:])) for row in rows}
    return list(found.values())


def delivered(database: Path) -> list[tuple[str, bytes]]:
    """The callbacks that the providers themselves delivered and got acknowledged."""
    rows = _rows(database, "SELECT provider, body", "play = ? AND state = 'delivered'", "")
    return [(provider, body) for provider, body in rows]


def owed(database: Path) -> int:
    """How many callbacks the providers themselves still try to deliver."""
    return len(_rows(database, "SELECT number", "play = ? AND state = 'owed'", ""))


def _rows(database: Path, select: str, where: str, value: str) -> list[Any]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    try:
        return connection.execute(f"{select} FROM deliveries WHERE {where}", (value,)).fetchall()
    finally:
        connection.close()
