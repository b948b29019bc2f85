"""`linkstatus sandbox play`: the sandbox runs a scenario, and the board must show its result."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from connectors.board.client import is_unknown
from schemas.money import in_words

Doc = dict[str, Any]
_MAX_CONCURRENCY = 16
_PAUSE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Row:
    """The expected state of one link or order, and the board's."""

    kind: str
    provider: str
    id: str
    expected: str
    actual: str
    agrees: bool


@dataclass(frozen=True, slots=True)
class PlayResult:
    """The result of a scenario.

    `undelivered` is the number of callbacks without an acknowledgement. `scenario` is the sandbox's
    answer. If the callbacks go to an `external` receiver, there is no board to compare. If all
    agrees, the providers pay out what was closed: `payouts` is what a reconciliation must find out
    about each order, `files` has the payouts of each provider as CSV.
    """

    rows: tuple[Row, ...]
    undelivered: int
    seconds: float
    scenario: Doc
    external: bool = False
    payouts: Sequence[Doc] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        return not self.undelivered and all(row.agrees for row in self.rows)


class Expectation(NamedTuple):
    """What the board must show at `/{kind}/{provider}/{id}`.

    `check` returns the state in the board's document, as text, and whether it is the expected one.
    """

    kind: str
    provider: str
    id: str
    text: str
    check: Callable[[Doc], tuple[str, bool]]
    # The state that a 404 means.
    absent: tuple[str, bool] = ("not found", False)


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
    """Run a scenario and compare the board until everything agrees or the time is over.

    The links are registered, and visible at the board, before the first callback: otherwise the
    order of a link would depend on which came first. A sandbox that calls an external receiver runs
    the scenario until all callbacks are acknowledged. Raises httpx.HTTPError.
    """
    started, run = time.monotonic(), run or secrets.token_hex(4)
    deadline = started + wait_seconds
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(timeout=30.0, headers=headers, trust_env=False) as client:
        sandbox = _Sandbox(client, sandbox_url, run)
        board = _Board(client, board_url.rstrip("/"), deadline)
        scenario = await sandbox.start(links, seed, spread_seconds)
        expected = expectations(scenario)
        if scenario["external"]:
            await sandbox.release()
            undelivered = await sandbox.wait_for_deliveries(deadline)
            rows = [Row(e.kind, e.provider, e.id, e.text, "", True) for e in expected]
            seconds = time.monotonic() - started
            return PlayResult(tuple(rows), undelivered, seconds, scenario, external=True)
        for registration in scenario["registrations"]:
            await _post(client, f"{edge_url}/links", registration)
        await board.watch([registered(link) for link in scenario["registrations"]])
        await sandbox.release()
        rows = await board.watch(expected, sandbox)
        undelivered = await sandbox.undelivered()
        result = PlayResult(tuple(rows), undelivered, time.monotonic() - started, scenario)
        return await _paid_out(sandbox, result) if result.agrees else result


async def _paid_out(sandbox: "_Sandbox", result: PlayResult) -> PlayResult:
    """Let the providers pay out the closed orders."""
    payouts = await sandbox.pay_out(result.scenario["orders"])
    names = {order["provider"] for order in payouts}
    files = {name: await sandbox.payout_file(name) for name in sorted(names)}
    return replace(result, payouts=payouts, files=files)


async def _post(client: httpx.AsyncClient, url: str, doc: Doc) -> Doc:
    response = await client.post(url, json=doc)
    answer: Doc = response.raise_for_status().json() if response.content else {}
    return answer


class _Sandbox:
    """One run of a scenario, through the sandbox's control API."""

    def __init__(self, client: httpx.AsyncClient, url: str, run: str) -> None:
        self._client, self._url, self._run = client, f"{url}/control", run

    async def start(self, links: int, seed: int, spread_seconds: float) -> Doc:
        """Start the scenario, with its callbacks on hold. Return the expected result."""
        form: Doc = {"links": links, "seed": seed, "run": self._run}
        form |= {"spread_seconds": spread_seconds, "hold": True}
        return await _post(self._client, f"{self._url}/scenarios", form)

    async def release(self) -> None:
        await _post(self._client, f"{self._url}/scenarios/{self._run}/release", {})

    async def pay_out(self, orders: Iterable[Doc]) -> Sequence[Doc]:
        """Pay out the closed orders. Return what a reconciliation must find out about each."""
        forms = [
            {
                "provider": order["provider"],
                "order_id": order["order_id"],
                "links": order["closed_links"],
            }
            for order in orders
            if order["closed_links"]
        ]
        answer = await _post(self._client, f"{self._url}/payouts", {"orders": forms})
        return tuple(answer["orders"])

    async def payout_file(self, name: str) -> bytes:
        response = await self._client.get(f"{self._url}/{name}/payouts.csv")
        return response.raise_for_status().content

    async def undelivered(self) -> int:
        params = {"run": self._run}
        response = await self._client.get(f"{self._url}/deliveries", params=params)
        return int(response.raise_for_status().json()["pending"])

    async def wait_for_deliveries(self, deadline: float) -> int:
        """Return the undelivered callbacks: none, or some at the deadline (monotonic clock)."""
        while (count := await self.undelivered()) and time.monotonic() < deadline:
            await asyncio.sleep(_PAUSE_SECONDS)
        return count


class _Board:
    def __init__(self, client: httpx.AsyncClient, url: str, deadline: float) -> None:
        self._client, self._url, self._deadline = client, url, deadline
        self._slots = asyncio.Semaphore(_MAX_CONCURRENCY)

    async def watch(
        self, expected: Sequence[Expectation], sandbox: _Sandbox | None = None
    ) -> list[Row]:
        """Return the rows when all agree and all callbacks are delivered, or at the deadline."""
        pending = list(expected)
        while True:
            rows = await self._compare_all(pending)
            pending = [e for e, row in zip(pending, rows, strict=True) if not row.agrees]
            over = time.monotonic() > self._deadline
            if over or not (pending or (sandbox and await sandbox.undelivered())):
                # A row that agreed before must still agree now.
                rows = await self._compare_all(expected)
                if over or all(row.agrees for row in rows):
                    return rows
                pending = list(expected)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _compare_all(self, expected: Sequence[Expectation]) -> list[Row]:
        tasks = [asyncio.create_task(self._compare(one)) for one in expected]
        try:
            return await asyncio.gather(*tasks)
        finally:
            # After a failure the other requests end before the client does.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _compare(self, e: Expectation) -> Row:
        async with self._slots:
            path = f"{self._url}/{e.kind}/{e.provider}/{quote(e.id, safe='')}"
            response = await self._client.get(path)
        if is_unknown(response):
            return Row(e.kind, e.provider, e.id, e.text, *e.absent)
        return Row(e.kind, e.provider, e.id, e.text, *e.check(response.raise_for_status().json()))


def registered(link: Doc) -> Expectation:
    """Return the expectation that the board shows the registration."""
    return Expectation(
        *("links", link["provider"], link["link_id"], "registered"),
        lambda doc: (str(doc), doc["registration"] is not None),
    )


def expectations(scenario: Doc) -> list[Expectation]:
    """Return what the board must show at the end, from the answer of /control/scenarios."""
    return [*map(_link, scenario["links"]), *map(_order, scenario["orders"])]


def _link(link: Doc) -> Expectation:
    def text(status: str, doc: Doc) -> str:
        order = f", order {doc['order_id']}" if link["order_id"] else ""
        money = "".join(_money(doc, word) for word in ("refunded", "disputed"))
        return f"{status}, {doc['coverage']}{money}{order}{_list(doc['anomalies'])}"

    def check(doc: Doc) -> tuple[str, bool]:
        agrees = (
            doc["status"] in link["status"]
            and doc["coverage"] == link["coverage"]
            and link["order_id"] in (None, doc["order_id"])
            and doc["refunded_minor"] == link["refunded_minor"]
            and doc["disputed_minor"] == link["disputed_minor"]
            and sorted(doc["anomalies"]) == sorted(link["anomalies"])
        )
        return text(doc["status"], doc), agrees

    expected = text(" or ".join(link["status"]), link)
    return Expectation("links", link["provider"], link["link_id"], expected, check)


def _money(doc: Doc, word: str) -> str:
    minor = doc[f"{word}_minor"]
    return "" if minor == 0 else f", {word} {in_words(minor, doc['currency'])}"


def _order(order: Doc) -> Expectation:
    closed_links, required = sorted(order["closed_links"]), set(order["settlements"])
    allowed = required | set(order["optional_settlements"])

    def check(doc: Doc) -> tuple[str, bool]:
        links = sorted(link["link_id"] for link in (doc["close"] or {"links": []})["links"])
        kinds = {settlement["kind"] for settlement in doc["settlements"]}
        return _order_text(links, kinds), links == closed_links and required <= kinds <= allowed

    expected, absent = _order_text(closed_links, required), _order_text([], set())
    is_absent = not closed_links and not required
    order_id = (order["provider"], order["order_id"])
    return Expectation("orders", *order_id, expected, check, (absent, is_absent))


def _order_text(closed_links: Sequence[str], kinds: Iterable[str]) -> str:
    count = len(closed_links)
    text = f"closed with {count} link{'s' if count > 1 else ''}" if count else "not closed"
    return text + _list(kinds)


def _list(names: Iterable[str]) -> str:
    text = " ".join(sorted(names))
    return f", {text}" if text else ""
