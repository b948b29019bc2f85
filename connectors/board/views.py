"""The pages: each is one template over a few questions to the store."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from sqlalchemy import Table
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from connectors.board import asking, chart, finding, queries
from connectors.board import tables as t
from connectors.board.access import Access
from connectors.board.api import dead_letter_json
from connectors.board.cancelling import Cancels
from connectors.board.health import Watch
from connectors.board.lately import Coming
from connectors.board.now import Now
from connectors.board.pages import Pages, here, wants_page
from connectors.board.present import masked_texts
from connectors.board.raw import RawRecords
from connectors.board.replaying import Replays
from connectors.board.store import Store
from connectors.board.story import decisions, story
from connectors.board.wait import wait
from connectors.clock import micros_now
from connectors.letters.letter import Wanted

_LISTED = 50
_NEWEST = 12

Endpoint = Callable[[Request], Awaitable[Response]]
Content = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sources:
    """What the pages are made of."""

    store: Store
    providers: Sequence[str]
    access: Access
    watch: Watch
    raw: RawRecords
    replays: Replays
    cancels: Cancels
    now: Now


class Views:
    """The endpoints, as methods that take a request."""

    def __init__(self, pages: Pages, sources: Sources) -> None:
        self._pages = pages
        self.sources = sources

    async def overview(self, request: Request) -> Response:
        return await self.page(request, "overview.html", self._overview)

    async def links(self, request: Request) -> Response:
        words = {"provider": None, "status": asking.STATUSES, "order_id": None}
        return await self._list(request, "links.html", t.link_status, words, self._links)

    async def orders(self, request: Request) -> Response:
        words = {"provider": None, "state": asking.STATES}
        return await self._list(request, "orders.html", t.orders, words, self._orders)

    async def anomalies(self, request: Request) -> Response:
        words = {"provider": None, "kind": asking.KINDS, "show": asking.SHOWN}
        return await self._list(request, "anomalies.html", t.anomalies, words, self._anomalies)

    async def dead_letters(self, request: Request) -> Response:
        shown = {**dict.fromkeys(asking.LETTER_WORDS), "show": asking.LETTERS_SHOWN}
        return await self._list(request, "dead_letters.html", t.dead_letters, shown, self._letters)

    async def notices(self, request: Request) -> Response:
        words = {"provider": None}
        return await self._list(request, "notices.html", t.notices, words, self._notices)

    async def processes(self, request: Request) -> Response:
        return await self.page(request, "processes.html", dict)

    async def link(self, request: Request) -> Response:
        upto = asking.place_in(request.query_params.get("upto", ""))
        return await self.page(
            request, "link.html", lambda: self._link(**request.path_params, upto=upto)
        )

    async def order(self, request: Request) -> Response:
        return await self.page(request, "order.html", lambda: self._order(**request.path_params))

    async def dead_letter(self, request: Request) -> Response:
        return await self.page(
            request, "dead_letter.html", lambda: self._letter(**request.path_params)
        )

    async def nowhere(self, request: Request) -> Response:
        if not wants_page(request):
            return JSONResponse({"error": "no such address"}, HTTPStatus.NOT_FOUND)
        return await self.page(request, "", lambda: None, "nowhere.html")

    async def _list(
        self,
        request: Request,
        template: str,
        table: Table,
        words: Mapping[str, Any],
        look: Callable[[dict[str, str], str, queries.Cursor | None], Content],
    ) -> Response:
        def content() -> Content:
            # A page shows what it can: a wrong word is told, and narrows nothing.
            wrong, asked, after = "", {}, None
            search = request.query_params.get("q", "").strip()
            try:
                asked = asking.one_of(request, words)
                after = asking.after(request, table)
                found = look(asked, search, after)
            except asking.BadParameter as error:
                wrong, asked = str(error), {}
                found = look({}, search, None)
            further: queries.Cursor | None = found.pop("further")
            return {
                **found,
                **{"asked": asked, "search": search, "wrong": wrong, "further": None},
                **({"further": asking.cursor(further)} if further else {}),
            }

        return await self.page(request, template, content)

    async def page(
        self,
        request: Request,
        template: str,
        look: Callable[[], Content | None],
        missing: str = "missing.html",
    ) -> Response:
        def render() -> Response:
            content = look()
            frame = self._frame(request)
            if content is None:
                text = self._pages.render(missing, **frame)
                return HTMLResponse(text, HTTPStatus.NOT_FOUND)
            return HTMLResponse(self._pages.render(template, **frame, **content))

        return await asyncio.to_thread(render)

    def wrong(
        self,
        request: Request,
        error: Exception | str,
        status: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY,
        back: str = "/",
    ) -> Response:
        """Why it could not be done: in words for a person, who is led `back`, else as JSON."""
        if wants_page(request):
            return self._pages.answer(request, "refused.html", status, said=str(error), back=back)
        field = {"field": error.name} if isinstance(error, asking.BadParameter) else {}
        return JSONResponse({"error": str(error), **field}, status)

    def _frame(self, request: Request) -> Content:
        """What every page has."""
        now, watch = self.sources.now, self.sources.watch
        return {
            "path": request.url.path,
            "here": here(request),
            "asked_for": request.path_params,
            "lately": now.counted(),
            "problems": now.problems(),
            "processes": watch.seen,
            "lag": chart.line(list(watch.lags)),
            "providers": now.providers(),
            "may_act": self.sources.access.has_cookie(request),
            "has_token": bool(self.sources.access.token),
            "errand": self.sources.replays.latest,
        }

    def _overview(self) -> Content:
        seen, store = self.sources.now.counted(), self.sources.store
        none = Coming()
        links = finding.links(store, {}, _NEWEST, None).rows
        return {
            "links": links,
            "states": queries.order_states(store, links),
            "flow": {
                name: (coming, chart.bars(coming.by_minute))
                for name in self.sources.providers
                for coming in [seen.coming.get(name, none)]
            },
        }

    def _links(self, asked: dict[str, str], search: str, after: queries.Cursor | None) -> Content:
        store, providers = self.sources.store, self.sources.providers
        found = finding.links(store, asked, _LISTED, after, search=search, providers=providers)
        states = queries.order_states(store, found.rows)
        listed = {"links": found.rows, "states": states, "further": found.next}
        return {**listed, "statuses": asking.STATUSES}

    def _orders(self, asked: dict[str, str], search: str, after: queries.Cursor | None) -> Content:
        store, providers = self.sources.store, self.sources.providers
        found = finding.orders(store, asked, _LISTED, after, search=search, providers=providers)
        return {"orders": found.rows, "further": found.next, "states": asking.STATES}

    def _anomalies(self, asked: dict[str, str], _: str, after: queries.Cursor | None) -> Content:
        fresh = asked.get("show") != "all"
        narrowed = {name: value for name, value in asked.items() if name != "show"}
        store = self.sources.store
        found = finding.anomalies(store, narrowed, fresh=fresh, limit=_LISTED, after=after)
        return {
            "anomalies": found.page.rows,
            "further": found.page.next,
            "count": found.number,
            "fresh": fresh,
            "narrowed": narrowed,
            "kinds": asking.KINDS,
        }

    def _notices(self, asked: dict[str, str], _: str, after: queries.Cursor | None) -> Content:
        found = finding.notices(self.sources.store, asked, _LISTED, after)
        rows = [{**one, "attributes": masked_texts(one["attributes"])} for one in found.rows]
        return {"notices": rows, "further": found.next}

    def _letters(self, asked: dict[str, str], _: str, after: queries.Cursor | None) -> Content:
        store, show = self.sources.store, asked.get("show", "open")
        wanted = asking.wanted(asked, micros_now())
        found = finding.letters(store, wanted, show=show, limit=_LISTED, after=after)
        narrowed = {name: value for name, value in asked.items() if name != "show"}
        return {
            "letters": found.page.rows,
            "further": found.page.next,
            "count": found.number,
            "show": show,
            "narrowed": narrowed,
            "reasons": finding.letters_by_reason(store, wanted, show=show)[:8],
        }

    def _link(self, provider: str, link_id: str, upto: int | None) -> Content | None:
        found = queries.link(self.sources.store, provider, link_id)
        if found is None:
            return None
        status = found.status
        # One that is awaited counts in none, whatever is called as it is.
        counts = status["order_from"] != "AWAITED"
        order = queries.order(self.sources.store, provider, status["order_id"]) if counts else None
        cancels = self.sources.cancels
        return {
            "link": status,
            "order": order,
            "waits": order and wait(order.status),
            "letters": finding.number_of_letters(
                self.sources.store, Wanted(provider=provider, link_id=link_id), show="open"
            ),
            "may_cancel": cancels.why_not(status) is None,
            "cancelled": cancels.latest(status),
            **story(found, order, self.sources.raw, upto),
        }

    def _order(self, provider: str, order_id: str) -> Content | None:
        found = queries.order(self.sources.store, provider, order_id)
        waits = found and wait(found.status)
        return found and {"order": found, "waits": waits, "decisions": decisions(found)}

    def _letter(self, partition: int, offset: int) -> Content | None:
        row = finding.letter(self.sources.store, partition, offset)
        if row is None:
            return None
        letter = {**dead_letter_json(row), "micros": row["at"]}
        return {"letter": letter, "replays": row["replays"], "aside": row["aside"]}
