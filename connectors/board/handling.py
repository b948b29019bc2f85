"""Anomalies and dead letters are dealt with: a person marks them as done, or set aside, or as to be
seen to again.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from confluent_kafka import KafkaException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from connectors.board import asking
from connectors.board.acts import now_as_text, who
from connectors.board.forms import BadForm, back, fields
from connectors.board.matters import Matter
from connectors.board.pages import wants_page
from connectors.board.views import Views
from connectors.clock import micros_now
from connectors.noting import Mark
from connectors.producing import NotTaken
from schemas.records import Notice

# One act publishes no more than this; the rest is told, and waits for the next.
MOST = 5_000
_LONGEST_NOTE = 500
_PATIENCE_SECONDS = 3.0
_LOOK_SECONDS = 0.05

Keep = Callable[[Iterable[Notice]], None]


class Handling:
    """The endpoints of one matter, as methods that take a request. `keep` publishes the marks, or
    raises.
    """

    def __init__(self, views: Views, keep: Keep, matter: Matter) -> None:
        self._views = views
        self._store = views.sources.store
        self._keep = keep
        self._matter = matter

    async def ask(self, request: Request) -> Response:
        """`GET /anomalies/done`, `/dead-letters/aside`: which it would be, before anything is
        done.
        """
        matter = self._matter
        try:
            asking.only(request, {*matter.words, "back"})
            given = asking.one_of(request, matter.words)
            where = matter.where(given)
        except asking.BadParameter as error:
            return self._views.wrong(request, error, back=matter.path)
        if matter.name not in given:  # what comes after this was seen by nobody
            given.setdefault("until", now_as_text())
        counted = await asyncio.to_thread(matter.counted, self._store, where)
        if not wants_page(request):
            return JSONResponse({"count": counted["count"]})
        asked = {"given": given, "back": back(request.query_params.get("back"), ""), "most": MOST}
        return await self._views.page(request, matter.page, lambda: {**counted, **asked})

    async def done(self, request: Request) -> Response:
        """`POST` to the same: marks those that are named or chosen, and still open."""
        return await self._mark(request, done=True)

    async def reopen(self, request: Request) -> Response:
        """`POST /anomalies/open`, `/dead-letters/open`: the one that is named is to be seen to
        again.
        """
        return await self._mark(request, done=False)

    async def _mark(self, request: Request, *, done: bool) -> Response:
        matter = self._matter
        try:
            given = await fields(request)
            asking.only_of(given, {*matter.words, "by", "note", "back"})
            if not done and not given.get(matter.name):
                raise asking.BadParameter(matter.name, "says which one, and is missing")
            where = matter.where({name: text for name in matter.words if (text := given.get(name))})
        except (asking.BadParameter, BadForm) as error:
            return self._views.wrong(request, error, back=matter.path)
        mark = Mark(done, who(request, given), micros_now(), given.get("note", "")[:_LONGEST_NOTE])
        some, number = await asyncio.to_thread(
            lambda: matter.meant(self._store, where, done=done, most=MOST)
        )
        try:
            await asyncio.to_thread(self._keep, [matter.notice(one, mark) for one in some])
        except (NotTaken, KafkaException) as error:
            told = f"Kafka does not take it now, nothing is marked: {error}"
            return self._views.wrong(request, told, HTTPStatus.SERVICE_UNAVAILABLE, matter.path)
        await self._seen(some[-1:], mark)
        if wants_page(request):
            return RedirectResponse(self._back(given), HTTPStatus.SEE_OTHER)
        return JSONResponse({"marked": len(some), "left": number - len(some) if done else 0})

    async def _seen(self, last: list[Any], mark: Mark) -> None:
        """Waits a while until the board has read it, so that the page that follows shows it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE_SECONDS
        while last and loop.time() < until:
            said = await asyncio.to_thread(self._matter.latest, self._store, last[0])
            if said and said.at >= mark.at:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def _back(self, given: Mapping[str, str]) -> str:
        """The list that the person came from."""
        path = self._matter.path
        words = {name: given[name] for name in self._matter.kept if given.get(name)}
        return back(given.get("back"), f"{path}?{urlencode(words)}" if words else path)
