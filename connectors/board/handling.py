"""Anomalies are dealt with: a person marks them as done, or as to be seen to again."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from confluent_kafka import KafkaException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from connectors.board import asking, finding, queries
from connectors.board.acts import now_as_text, who
from connectors.board.forms import BadForm, back, fields
from connectors.board.noting import Mark, of_mark
from connectors.board.pages import wants_page
from connectors.board.views import Views
from connectors.clock import micros_now
from connectors.producing import NotTaken
from schemas.records import Anomaly, Notice

# One act publishes no more than this; the rest is told, and waits for the next.
MOST = 5_000
_LIST = "/anomalies"
_LONGEST_NOTE = 500
_PATIENCE_SECONDS = 3.0
_LOOK_SECONDS = 0.05
_WORDS: Mapping[str, tuple[str, ...] | None] = {
    "event_id": None,
    "provider": None,
    "kind": asking.KINDS,
    "until": None,
}

Keep = Callable[[Iterable[Notice]], None]


class Handling:
    """The endpoints, as methods that take a request. `keep` publishes the marks, or raises."""

    def __init__(self, views: Views, keep: Keep) -> None:
        self._views = views
        self._store = views.sources.store
        self._keep = keep

    async def ask(self, request: Request) -> Response:
        """`GET /anomalies/done`: which it would be, before anything is done."""
        try:
            asking.only(request, {*_WORDS, "back"})
            given = asking.one_of(request, _WORDS)
            where = _where(given)
        except asking.BadParameter as error:
            return self._views.wrong(request, error, back=_LIST)
        if "event_id" not in given:  # what comes after this was seen by nobody
            given.setdefault("until", now_as_text())
        kinds = await asyncio.to_thread(finding.anomalies_by_kind, self._store, where)
        count = sum(number for _, _, number in kinds)
        if not wants_page(request):
            return JSONResponse({"count": count})
        one = await asyncio.to_thread(self._one, where) if "event_id" in given else None
        counted = {"kinds": kinds, "count": count, "most": MOST}
        asked = {"given": given, "back": back(request.query_params.get("back"), "")}
        shown = {"one": one, **counted, **asked}
        return await self._views.page(request, "done.html", lambda: shown)

    def _one(self, where: Mapping[str, Any]) -> Anomaly | None:
        rows = finding.anomalies(self._store, where, fresh=True, limit=1, after=None).page.rows
        return rows[0][0] if rows else None

    async def done(self, request: Request) -> Response:
        """`POST /anomalies/done`: marks those that are named or chosen, and still open."""
        return await self._mark(request, done=True)

    async def reopen(self, request: Request) -> Response:
        """`POST /anomalies/open`: the one that is named is to be seen to again."""
        return await self._mark(request, done=False)

    async def _mark(self, request: Request, *, done: bool) -> Response:
        try:
            given = await fields(request)
            asking.only_of(given, {*_WORDS, "by", "note", "back"})
            if not done and not given.get("event_id"):
                raise asking.BadParameter("event_id", "says which anomaly, and is missing")
            where = _where({name: text for name in _WORDS if (text := given.get(name))})
        except (asking.BadParameter, BadForm) as error:
            return self._views.wrong(request, error, back=_LIST)
        mark = Mark(done, who(request, given), micros_now(), given.get("note", "")[:_LONGEST_NOTE])
        found = await asyncio.to_thread(
            lambda: finding.anomalies(self._store, where, fresh=done, limit=MOST, after=None)
        )
        meant = [one for one, said in found.page.rows if done or (said and said.done)]
        try:
            await asyncio.to_thread(self._keep, [of_mark(one, mark) for one in meant])
        except (NotTaken, KafkaException) as error:
            told = f"Kafka does not take it now, nothing is marked: {error}"
            return self._views.wrong(request, told, HTTPStatus.SERVICE_UNAVAILABLE, _LIST)
        await self._seen([one["event_id"] for one in meant], mark)
        if wants_page(request):
            return RedirectResponse(_back(given), HTTPStatus.SEE_OTHER)
        left = found.number - len(meant) if done else 0
        return JSONResponse({"marked": len(meant), "left": left})

    async def _seen(self, anomaly_ids: list[str], mark: Mark) -> None:
        """Waits a while until the board has read it, so that the page that follows shows it."""
        last = anomaly_ids[-1:]
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE_SECONDS
        while last and loop.time() < until:
            said = await asyncio.to_thread(queries.marks, self._store, last)
            if said and said[last[0]].at >= mark.at:
                return
            await asyncio.sleep(_LOOK_SECONDS)


def _where(given: Mapping[str, str]) -> dict[str, str | int]:
    """Which anomalies are meant. Raises BadParameter."""
    kind = given.get("kind")
    if kind is not None and kind not in asking.KINDS:
        raise asking.BadParameter("kind", f"is not one of {', '.join(asking.KINDS)}")
    until = asking.at(given, "until", micros_now())
    named = {name: text for name, text in given.items() if name != "until"}
    return {**named, **({} if until is None else {"until": until})}


def _back(given: Mapping[str, str]) -> str:
    """The list that the person came from."""
    words = {name: given[name] for name in ("kind", "provider") if given.get(name)}
    return back(given.get("back"), f"{_LIST}?{urlencode(words)}" if words else _LIST)
