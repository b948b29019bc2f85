"""The first page: what there is and what is new, rendered here and refreshed by the live stream."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from connectors.board import queries
from connectors.board.lapse import lapse
from connectors.board.present import rfc3339
from connectors.board.store import Store
from schemas.money import BadAmount, major_units
from schemas.records import Status

_FOLDER = Path(__file__).parent
STATIC = _FOLDER / "static"
_STATUSES = get_args(Status)
_SHOWN = 20
# Counting a million links takes part of a second: do it once for everybody who looks, and spend at
# most a tenth of the time on it.
_COUNTS_KEPT_SECONDS = 1.0
_COUNTS_REST = 10
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def money(minor: int | None, currency: str | None) -> str:
    """`1234, "EUR"` as "12.34 EUR"; an em dash where it is unknown."""
    if minor is None:
        return "—"
    try:
        return f"{major_units(minor, currency or ''):,f} {currency}"
    except BadAmount:
        return f"{minor} minor units"


def age(micros: int, now: float | None = None) -> str:
    """How long ago, in its largest unit."""
    seconds = int((time.time() if now is None else now) - micros / 1_000_000)
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "now"


def took(seconds: float | None) -> str:
    """A span of time in its largest unit; an em dash where it is unknown."""
    if seconds is None:
        return "—"
    return "under 1 s" if seconds < 1 else age(0, seconds)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(age=age, rfc3339=rfc3339, segment=lambda text: quote(text, safe=""))
    environment.globals.update(money=money, took=took, lapse=lapse)
    return environment


@dataclass(slots=True)
class _Counts:
    links: dict[str, dict[str, int]]
    totals: dict[str, int]
    until: float


class FirstPage:
    """`GET /`, by `?provider=` and `?status=` if asked."""

    def __init__(self, store: Store, providers: Iterable[str]) -> None:
        self._store = store
        self._providers = tuple(providers)
        self._template = _environment().get_template("board.html")
        self._counted = _Counts({}, {}, 0.0)

    async def show(self, request: Request) -> Response:
        asked = {
            name: value
            for name, known in (("provider", self._providers), ("status", _STATUSES))
            if (value := request.query_params.get(name, "")) in known
        }
        return HTMLResponse(await asyncio.to_thread(self._render, asked))

    def _render(self, asked: dict[str, str]) -> str:
        counts = self._counts()
        return self._template.render(self._content(asked, counts))

    def _content(self, asked: dict[str, str], counts: _Counts) -> dict[str, Any]:
        return {
            "asked": asked,
            "statuses": [s for s in _STATUSES if s != "UNKNOWN" or _has(counts.links, s)],
            "providers": list(dict.fromkeys((*self._providers, *sorted(counts.links)))),
            "counts": counts.links,
            "totals": counts.totals,
            "links": queries.links(self._store, asked, _SHOWN, None).rows,
            "orders": queries.orders(self._store, _SHOWN).rows,
            "anomalies": queries.anomalies(self._store, _SHOWN).rows,
            "dead_letters": queries.dead_letters(self._store, _SHOWN).rows,
        }

    def _counts(self) -> _Counts:
        began = time.monotonic()
        if began >= self._counted.until:
            links, totals = queries.counts(self._store), queries.totals(self._store)
            now = time.monotonic()
            rest = max(_COUNTS_KEPT_SECONDS, _COUNTS_REST * (now - began))
            self._counted = _Counts(links, totals, now + rest)
        return self._counted


def _has(counts: dict[str, dict[str, int]], status: str) -> bool:
    return any(status in by_status for by_status in counts.values())
