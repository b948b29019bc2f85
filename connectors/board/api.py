"""The query API: JSON for programs. Times are RFC 3339, money is integer minor units."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial
from http import HTTPStatus
from typing import Any

from sqlalchemy import Table
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.board import asking, finding, queries
from connectors.board import tables as t
from connectors.board.health import Health, Watch
from connectors.board.lapse import lapse
from connectors.board.now import Now
from connectors.board.pages import Pages, here, wants_page
from connectors.board.present import as_json, body_json, masked_headers, rfc3339
from connectors.board.store import Store, StoreUnavailable
from connectors.board.wait import wait
from connectors.clock import micros_now
from connectors.noting import Mark
from schemas import codec
from schemas.records import Anomaly, OrderStatus

log = logging.getLogger(__name__)

# A list's name in the answer and its highest limit: dead letters carry bodies of up to 64 KiB.
_LISTS = {
    t.link_status: ("links", 500),
    t.orders: ("orders", 500),
    t.anomalies: ("anomalies", 500),
    t.dead_letters: ("dead_letters", 100),
    t.notices: ("notices", 500),
}


def _lapse_json(order: OrderStatus) -> dict[str, Any]:
    took = lapse(order)
    return {
        **{name: rfc3339(at) for name, at in took._asdict().items()},
        "paid_to_closed_seconds": took.paid_to_closed,
        "closed_to_settled_seconds": took.closed_to_settled,
    }


class Api:
    """The endpoints, as methods that take a request."""

    def __init__(self, store: Store, providers: Iterable[str], watch: Watch, now: Now) -> None:
        self._store = store
        self._watch = watch
        self._now = now
        self._words: dict[str, Collection[str] | None] = {
            "provider": tuple(providers),
            "status": asking.STATUSES,
            "state": asking.STATES,
            "kind": asking.KINDS,
            "order_id": None,
            **dict.fromkeys(asking.LETTER_WORDS[1:]),
        }

    async def now(self, _: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(self._now.as_json))

    async def link(self, request: Request) -> Response:
        provider, link_id = request.path_params["provider"], request.path_params["link_id"]
        found = await asyncio.to_thread(queries.link, self._store, provider, link_id)
        if found is None:
            return _missing("link", provider, link_id)
        return JSONResponse(
            {
                **as_json(codec.LINK_STATUS, found.status),
                "timeline": [as_json(codec.LINK_EVENT, event) for event in found.events],
                "anomaly_details": [
                    anomaly_json(one, found.marks.get(one["event_id"])) for one in found.anomalies
                ],
                "deeds": [as_json(codec.NOTICE, deed) for deed in found.deeds],
            }
        )

    async def links(self, request: Request) -> Response:
        return await self._answer_page(
            request,
            t.link_status,
            ("provider", "status", "order_id"),
            partial(finding.links, self._store),
            partial(as_json, codec.LINK_STATUS),
        )

    async def order(self, request: Request) -> Response:
        provider, order_id = request.path_params["provider"], request.path_params["order_id"]
        found = await asyncio.to_thread(queries.order, self._store, provider, order_id)
        if found is None:
            return _missing("order", provider, order_id)
        waiting = wait(found.status)
        return JSONResponse(
            {
                **as_json(codec.ORDER_STATUS, found.status),
                "close": found.close and as_json(codec.ORDER_CLOSE, found.close),
                "settlements": [as_json(codec.SETTLEMENT, s) for s in found.settlements],
                "lapse": _lapse_json(found.status),
                "waits_for": waiting and waiting._asdict(),
            }
        )

    async def orders(self, request: Request) -> Response:
        return await self._answer_page(
            request,
            t.orders,
            ("provider", "state"),
            partial(finding.orders, self._store),
            partial(as_json, codec.ORDER_STATUS),
        )

    async def anomalies(self, request: Request) -> Response:
        def ask(where: dict[str, str], limit: int, after: queries.Cursor | None) -> queries.Page:
            fresh = where.pop("show", "all") == "open"
            found = finding.anomalies(self._store, where, fresh=fresh, limit=limit, after=after)
            return found.page

        filters = ("provider", "kind", "show")
        return await self._answer_page(
            request, t.anomalies, filters, ask, lambda row: anomaly_json(*row)
        )

    async def notices(self, request: Request) -> Response:
        return await self._answer_page(
            request,
            t.notices,
            ("provider",),
            partial(finding.notices, self._store),
            partial(as_json, codec.NOTICE),
        )

    async def dead_letters(self, request: Request) -> Response:
        def ask(where: dict[str, str], limit: int, after: queries.Cursor | None) -> queries.Page:
            wanted, show = asking.wanted(where, micros_now()), where.get("show", "all")
            return finding.letters(self._store, wanted, show=show, limit=limit, after=after).page

        filters = (*asking.LETTER_WORDS, "show")
        return await self._answer_page(request, t.dead_letters, filters, ask, dead_letter_json)

    async def dead_letter(self, request: Request) -> Response:
        partition, offset = request.path_params["partition"], request.path_params["offset"]
        found = await asyncio.to_thread(finding.letter, self._store, partition, offset)
        if found is None:
            return JSONResponse({"error": "no such dead letter"}, HTTPStatus.NOT_FOUND)
        return JSONResponse(dead_letter_json(found))

    async def processes(self, _: Request) -> Response:
        return JSONResponse({"processes": [_health_json(one) for one in self._watch.seen]})

    async def _answer_page(
        self,
        request: Request,
        table: Table,
        filters: tuple[str, ...],
        ask: Callable[[dict[str, str], int, queries.Cursor | None], queries.Page],
        show: Callable[[Any], dict[str, Any]],
    ) -> Response:
        name, most = _LISTS[table]
        try:
            asking.only(request, {*filters, "limit", "cursor"})
            shown = asking.LETTERS_SHOWN if table is t.dead_letters else asking.SHOWN
            words = {**self._words, "show": shown}
            where = asking.one_of(request, {name: words[name] for name in filters})
            limit = asking.limit(request, most)
            after = asking.after(request, table)
            rows, following = await asyncio.to_thread(ask, where, limit, after)
        except asking.BadParameter as error:
            return JSONResponse({"error": str(error), "field": error.name}, 422)
        return JSONResponse(
            {
                name: [show(row) for row in rows],
                "next": None if following is None else asking.cursor(following),
            }
        )


class UnavailableAs503:
    """Answers 503 where the database does not."""

    def __init__(self, app: ASGIApp, pages: Pages) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except StoreUnavailable as error:
            log.error("%s", error)
            said, request = "the board's database cannot be read now", Request(scope)
            answer: Response = JSONResponse({"error": said}, 503)
            if wants_page(request):
                status = HTTPStatus.SERVICE_UNAVAILABLE
                answer = self._pages.answer(
                    request, "refused.html", status, said=said, back=here(request)
                )
            await answer(scope, receive, send)


def anomaly_json(anomaly: Anomaly, mark: Mark | None) -> dict[str, Any]:
    """An anomaly, and who has marked it as done when; `done` is None while nobody has."""
    return {**as_json(codec.ANOMALY, anomaly), "done": _mark_json(mark)}


def _mark_json(mark: Mark | None) -> dict[str, Any] | None:
    if not (mark and mark.done):
        return None
    return {"by": mark.by, "at": rfc3339(mark.at), "note": mark.note}


def dead_letter_json(row: dict[str, Any]) -> dict[str, Any]:
    """A dead letter with its secrets masked."""
    key: bytes | None = row["key"]
    return {
        "topic": row["topic"],
        "partition": row["partition"],
        "offset": row["offset"],
        "at": rfc3339(row["at"]),
        "key": None if key is None else key.decode(errors="replace"),
        "reason": row["reason"],
        "stage": row["stage"],
        "origin": row["origin"],
        "headers": masked_headers(row["headers"]),
        "body": body_json(row["body"]),
        "replays": [as_json(codec.REPLAY, replay) for replay in row["replays"]],
        "aside": _mark_json(row["aside"]),
    }


def _health_json(one: Health) -> dict[str, Any]:
    return {
        "name": one.name,
        "state": one.state,
        "why": one.why,
        "started_at": rfc3339(one.started_at),
        "waiting": dict(one.waiting),
        "held_back": list(one.held_back),
    }


def _missing(what: str, provider: str, identifier: str) -> Response:
    return JSONResponse({"error": f"no such {what}", "provider": provider, "id": identifier}, 404)
