"""The query API: JSON for programs. Times are RFC 3339, money is integer minor units."""

import asyncio
import base64
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any, get_args

from sqlalchemy import Table
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.board import queries
from connectors.board import tables as t
from connectors.board.lapse import lapse
from connectors.board.present import as_json, body_json, masked_headers, rfc3339
from connectors.board.store import Store, StoreUnavailable
from schemas import codec
from schemas.records import OrderStatus, Status

log = logging.getLogger(__name__)

_STATUSES = get_args(Status)
_DEFAULT_LIMIT = 50
# A list's name in the answer and its highest limit: dead letters carry bodies of up to 64 KiB.
_LISTS = {
    t.link_status: ("links", 500),
    t.anomalies: ("anomalies", 500),
    t.dead_letters: ("dead_letters", 100),
}


class BadParameter(ValueError):
    """A query parameter is wrong; `name` says which, the message why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name = name


def _lapse_json(order: OrderStatus) -> dict[str, Any]:
    took = lapse(order)
    return {
        **{name: None if at is None else rfc3339(at) for name, at in took._asdict().items()},
        "paid_to_closed_seconds": took.paid_to_closed,
        "closed_to_settled_seconds": took.closed_to_settled,
    }


class Api:
    """The endpoints, as methods that take a request."""

    def __init__(self, store: Store, providers: Iterable[str]) -> None:
        self._store = store
        self._providers = tuple(providers)

    async def link(self, request: Request) -> Response:
        provider, link_id = request.path_params["provider"], request.path_params["link_id"]
        found = await asyncio.to_thread(queries.link, self._store, provider, link_id)
        if found is None:
            return _missing("link", provider, link_id)
        return JSONResponse(
            {
                **as_json(codec.LINK_STATUS, found.status),
                "timeline": [as_json(codec.LINK_EVENT, event) for event in found.events],
                "anomaly_details": [as_json(codec.ANOMALY, a) for a in found.anomalies],
            }
        )

    async def links(self, request: Request) -> Response:
        return await self._answer_page(
            request,
            t.link_status,
            ("provider", "status", "order_id"),
            lambda where, limit, after: queries.links(self._store, where, limit, after),
            lambda row: as_json(codec.LINK_STATUS, row),
        )

    async def order(self, request: Request) -> Response:
        provider, order_id = request.path_params["provider"], request.path_params["order_id"]
        found = await asyncio.to_thread(queries.order, self._store, provider, order_id)
        if found is None:
            return _missing("order", provider, order_id)
        return JSONResponse(
            {
                **as_json(codec.ORDER_STATUS, found.status),
                "close": found.close and as_json(codec.ORDER_CLOSE, found.close),
                "settlements": [as_json(codec.SETTLEMENT, s) for s in found.settlements],
                "lapse": _lapse_json(found.status),
            }
        )

    async def anomalies(self, request: Request) -> Response:
        return await self._answer_page(
            request,
            t.anomalies,
            (),
            lambda _, limit, after: queries.anomalies(self._store, limit, after),
            lambda row: as_json(codec.ANOMALY, row),
        )

    async def dead_letters(self, request: Request) -> Response:
        return await self._answer_page(
            request,
            t.dead_letters,
            (),
            lambda _, limit, after: queries.dead_letters(self._store, limit, after),
            dead_letter_json,
        )

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
            where = self._filters(request, filters)
            limit = _limit(request, most)
            after = _after(request, table)
        except BadParameter as error:
            return JSONResponse({"error": str(error), "field": error.name}, 422)
        rows, following = await asyncio.to_thread(ask, where, limit, after)
        return JSONResponse(
            {
                name: [show(row) for row in rows],
                "next": None if following is None else _cursor(following),
            }
        )

    def _filters(self, request: Request, allowed: tuple[str, ...]) -> dict[str, str]:
        known = {*allowed, "limit", "cursor"}
        for name in request.query_params:
            if name not in known:
                raise BadParameter(name, f"no such parameter; there are {', '.join(sorted(known))}")
        # An empty value is an empty field of a form: no filter.
        where = {n: v for n in allowed if (v := request.query_params.get(n))}
        if where.get("provider", self._providers[0]) not in self._providers:
            raise BadParameter("provider", f"is not one of {', '.join(self._providers)}")
        if where.get("status", _STATUSES[0]) not in _STATUSES:
            raise BadParameter("status", f"is not one of {', '.join(_STATUSES)}")
        return where


class UnavailableAs503:
    """Answers 503 where the database does not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except StoreUnavailable as error:
            log.error("%s", error)
            answer = JSONResponse({"error": "the board's database cannot be read now"}, 503)
            await answer(scope, receive, send)


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
    }


def _missing(what: str, provider: str, identifier: str) -> Response:
    return JSONResponse({"error": f"no such {what}", "provider": provider, "id": identifier}, 404)


def _limit(request: Request, most: int) -> int:
    text = request.query_params.get("limit") or str(min(_DEFAULT_LIMIT, most))
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= most):
        raise BadParameter("limit", f"is not a whole number from 1 to {most}")
    return int(text)


def _cursor(position: queries.Cursor) -> str:
    packed = json.dumps(position, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _after(request: Request, table: Table) -> queries.Cursor | None:
    text = request.query_params.get("cursor")
    if not text:
        return None
    expected = queries.cursor_types(table)
    try:
        position = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        fits = [type(part) for part in position] == list(expected)
    except (ValueError, TypeError):
        fits = False
    if not fits or any(isinstance(part, int) and abs(part) >= 2**63 for part in position):
        raise BadParameter("cursor", "is not one that an earlier answer gave as `next`")
    return tuple(position)
