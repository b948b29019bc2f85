"""A play, performed: the sandbox lives it, the links are registered, and the board must agree."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

Doc = dict[str, Any]
_AT_ONCE = 16
_PAUSE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Row:
    """One link or order: what must be known of it, and what the board says."""

    kind: str
    provider: str
    id: str
    expected: str
    seen: str
    agrees: bool


@dataclass(frozen=True, slots=True)
class PlayResult:
    """`undelivered` counts the callbacks that were not acknowledged yet; `planned` is what must be
    known in the end. Where the callbacks go `elsewhere`, there is no board to compare with.
    """

    rows: tuple[Row, ...]
    undelivered: int
    seconds: float
    planned: Doc
    elsewhere: bool = False

    @property
    def agrees(self) -> bool:
        return not self.undelivered and all(row.agrees for row in self.rows)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the board must say at `/{kind}/{provider}/{id}`; `None` stands for 404."""

    kind: str
    provider: str
    id: str
    text: str
    accepts: Callable[[Doc | None], bool]
    describe: Callable[[Doc | None], str]


async def play(
    edge_url: str,
    board_url: str,
    sandbox_url: str,
    links: int,
    seed: int,
    wait_seconds: float = 60.0,
    spread_seconds: float = 4.0,
    run: str | None = None,
    token: str | None = None,
) -> PlayResult:
    """Performs a play and compares the board with the plan until all agrees or the time is over.

    Links are registered, and seen registered, before the first callback goes: which order a link
    belongs to would otherwise depend on which came first. A sandbox that calls somebody else's
    receiver only plays, until all is acknowledged. Raises httpx.HTTPError.
    """
    started, run = time.monotonic(), run or secrets.token_hex(4)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(timeout=30.0, headers=headers, trust_env=False) as client:
        board = _Board(client, board_url.rstrip("/"), started + wait_seconds)
        asked = {"links": links, "seed": seed, "run": run, "spread_seconds": spread_seconds}
        planned = await _post(client, f"{sandbox_url}/control/play", asked | {"hold": True})
        owed = _Owed(client, f"{sandbox_url}/control/deliveries", run)
        release = f"{sandbox_url}/control/play/{run}/release"
        if planned["elsewhere"]:
            await _post(client, release, {})
            left = await owed.none(started + wait_seconds)
            rows = [_unasked(one) for one in expectations(planned)]
            return PlayResult(tuple(rows), left, time.monotonic() - started, planned, True)
        for registration in planned["registrations"]:
            await _post(client, f"{edge_url}/links", registration)
        await board.watch([registered(link) for link in planned["registrations"]])
        await _post(client, release, {})
        rows = await board.watch(expectations(planned), owed)
        return PlayResult(tuple(rows), await owed(), time.monotonic() - started, planned)


def knows_none(answer: httpx.Response) -> bool:
    """Whether a board says that it knows no such thing. What is no board says so in other words."""
    return answer.status_code == httpx.codes.NOT_FOUND and is_spoken(answer)


def is_spoken(answer: httpx.Response) -> bool:
    """Whether the answer is in JSON, as all of a board's are to programs."""
    return bool(answer.headers.get("content-type", "").startswith("application/json"))


async def _post(client: httpx.AsyncClient, url: str, doc: Doc) -> Doc:
    response = await client.post(url, json=doc)
    answer: Doc = response.raise_for_status().json() if response.content else {}
    return answer


class _Owed:
    """How many callbacks of the play are not delivered yet."""

    def __init__(self, client: httpx.AsyncClient, url: str, run: str) -> None:
        self._client, self._url, self._run = client, url, run

    async def __call__(self) -> int:
        response = await self._client.get(self._url, params={"run": self._run})
        return int(response.raise_for_status().json()["owed"])

    async def none(self, deadline: float) -> int:
        """How many are left when none are, or at the deadline (monotonic clock)."""
        while (left := await self()) and time.monotonic() < deadline:
            await asyncio.sleep(_PAUSE_SECONDS)
        return left


class _Board:
    def __init__(self, client: httpx.AsyncClient, url: str, deadline: float) -> None:
        self._client, self._url, self._deadline = client, url, deadline
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def watch(self, expected: Sequence[Expectation], owed: _Owed | None = None) -> list[Row]:
        """The rows once all agree and nothing is owed any more, or when the time is over."""
        rows: list[Row] = []
        open_now = list(expected)
        while True:
            looked = await asyncio.gather(*map(self._look, open_now))
            still = [one for one, row in zip(open_now, looked, strict=True) if not row.agrees]
            over = time.monotonic() > self._deadline
            if over or not (still or (owed and await owed())):
                # What agreed before must still agree now.
                rows = await asyncio.gather(*map(self._look, expected))
                if over or all(row.agrees for row in rows):
                    return rows
                still = list(expected)
            open_now = still
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _look(self, one: Expectation) -> Row:
        path = f"{self._url}/{one.kind}/{one.provider}/{quote(one.id, safe='')}"
        async with self._free:
            response = await self._client.get(path)
        doc: Doc | None = None
        if not knows_none(response):
            doc = response.raise_for_status().json()
        return Row(one.kind, one.provider, one.id, one.text, one.describe(doc), one.accepts(doc))


def _unasked(one: Expectation) -> Row:
    return Row(one.kind, one.provider, one.id, one.text, "", True)


def registered(link: Doc) -> Expectation:
    """The board knows the registration."""

    def accepts(doc: Doc | None) -> bool:
        return doc is not None and doc["registration"] is not None

    return Expectation(
        "links", link["provider"], link["link_id"], "registered", accepts, lambda doc: str(doc)
    )


def expectations(planned: Doc) -> list[Expectation]:
    """What the board must say in the end, from the sandbox's answer to /control/play."""
    return [*map(_link, planned["links"]), *map(_order, planned["orders"])]


def _link(link: Doc) -> Expectation:
    order_id = f", order {link['order_id']}" if link["order_id"] else ""
    words = " or ".join(link["status"])
    text = f"{words}, {link['coverage']}{order_id}{_listed(link['anomalies'])}"

    def accepts(doc: Doc | None) -> bool:
        return (
            doc is not None
            and doc["status"] in link["status"]
            and doc["coverage"] == link["coverage"]
            and link["order_id"] in (None, doc["order_id"])
            and sorted(doc["anomalies"]) == sorted(link["anomalies"])
        )

    def describe(doc: Doc | None) -> str:
        if doc is None:
            return "not known"
        order = f", order {doc['order_id']}" if link["order_id"] else ""
        return f"{doc['status']}, {doc['coverage']}{order}{_listed(doc['anomalies'])}"

    return Expectation("links", link["provider"], link["link_id"], text, accepts, describe)


def _order(order: Doc) -> Expectation:
    wanted, optional = set(order["settlements"]), set(order["optional_settlements"])

    def accepts(doc: Doc | None) -> bool:
        kinds = set(_kinds(doc))
        return (
            _closed(doc) == sorted(order["closed_links"]) and wanted <= kinds <= wanted | optional
        )

    def describe(doc: Doc | None) -> str:
        return _order_text(_closed(doc), _kinds(doc))

    text = _order_text(sorted(order["closed_links"]), order["settlements"])
    return Expectation("orders", order["provider"], order["order_id"], text, accepts, describe)


def _order_text(closed: Sequence[str], kinds: Sequence[str]) -> str:
    if not closed:
        return "not closed" + _listed(kinds)
    return f"closed with {len(closed)} link{'s' if len(closed) > 1 else ''}{_listed(kinds)}"


def _closed(doc: Doc | None) -> list[str]:
    """The links in the order's close; none while it is not closed."""
    close = doc and doc["close"]
    return sorted(link["link_id"] for link in close["links"]) if close else []


def _kinds(doc: Doc | None) -> list[str]:
    return sorted({settlement["kind"] for settlement in doc["settlements"]}) if doc else []


def _listed(names: Sequence[str]) -> str:
    return f", {' '.join(sorted(names))}" if names else ""
