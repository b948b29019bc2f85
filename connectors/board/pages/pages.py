"""The pages: each is a template and its content."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from connectors.board.board import Board
from connectors.board.http import parameters
from connectors.board.http.cursor import format_cursor
from connectors.board.http.negotiation import here
from connectors.board.http.refusal import BadInput
from connectors.board.pages import chart, content
from connectors.board.pages.content import Content
from connectors.board.pages.renderer import Renderer

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]
Q = TypeVar("Q", bound=parameters.Parameters)


class Pages:
    """The endpoints of the pages."""

    def __init__(self, renderer: Renderer, board: Board) -> None:
        self._renderer = renderer
        self.board = board

    def by_path(self) -> dict[str, Endpoint]:
        """Return the endpoints by path."""
        page, page_of_list = self.page, self._list
        return {
            "/": page("overview.html", content.of_overview),
            "/links": page_of_list("links.html", parameters.LinkPage, content.of_links),
            "/links/{provider}/{link_id:path}": page("link.html", content.of_link),
            "/orders": page_of_list("orders.html", parameters.OrderPage, content.of_orders),
            "/orders/{provider}/{order_id:path}": page("order.html", content.of_order),
            "/money": page_of_list("money.html", parameters.MoneyFilter, content.of_money),
            "/anomalies": page_of_list(
                "anomalies.html", parameters.AnomalyPage, content.of_anomalies
            ),
            "/notices": page_of_list("notices.html", parameters.NoticePage, content.of_notices),
            "/dead-letters": page_of_list(
                "dead_letters.html", parameters.DeadLetterPage, content.of_dead_letters
            ),
            "/dead-letters/{partition:nr}/{offset:nr}": page(
                "dead_letter.html", content.of_dead_letter
            ),
            "/reconciliations": page_of_list(
                "reconciliations.html",
                parameters.ReconciliationPage,
                content.of_reconciliations,
            ),
            "/reconciliations/{provider}/{day:path}": page(
                "reconciliation.html", content.of_reconciliation
            ),
            "/processes": page("processes.html", lambda _, __: {}),
        }

    async def not_found(self, request: Request, _: Exception) -> Response:
        return await asyncio.to_thread(self._missing, "no_page.html", request)

    async def unavailable(self, request: Request, error: Exception) -> Response:
        log.error("%s", error)
        shown = {"message": "the board's database cannot be read now", "back": here(request)}
        status = HTTPStatus.SERVICE_UNAVAILABLE
        return self._renderer.page(request, "refused.html", status, **shown)

    async def refused(self, request: Request, error: Any) -> Response:
        """Return the page that says why an action was not done (`Refused`). It leads to the page
        above.
        """
        shown = {"message": str(error), "back": quote(request.scope["path"]).rpartition("/")[0]}
        return self._renderer.page(request, "refused.html", error.status, **shown)

    def page(
        self, template: str, make_content: Callable[[Board, Request], Content | None]
    ) -> Endpoint:
        """Return the endpoint of a page. Without content it answers 404."""

        def render(request: Request) -> Response:
            content = make_content(self.board, request)
            if content is None:
                return self._missing("missing.html", request)
            frame = self._frame(request)
            return HTMLResponse(self._renderer.render(template, **frame, **content))

        async def endpoint(request: Request) -> Response:
            return await asyncio.to_thread(render, request)

        return endpoint

    def _missing(self, template: str, request: Request) -> Response:
        text = self._renderer.render(template, **self._frame(request))
        return HTMLResponse(text, HTTPStatus.NOT_FOUND)

    def _list(
        self, template: str, model: type[Q], make_content: Callable[[Board, Q], Content]
    ) -> Endpoint:
        def of_request(board: Board, request: Request) -> Content:
            texts = {n: v for n, v in request.query_params.items() if n in model.model_fields}
            # A wrong parameter does not hide the list: the page reports it and shows all rows.
            query, error = model(), ""
            try:
                query = parameters.parse(model, texts)
            except BadInput as bad:
                error = str(bad)
            content = make_content(board, query)
            cursor = format_cursor(content.pop("next", None))
            set_ = query.model_fields_set - {"cursor"}
            chosen = {name: text for name, text in texts.items() if name in set_}
            return {
                **content,
                "chosen": chosen,
                "error": error,
                "next_cursor": cursor,
            }

        return self.page(template, of_request)

    def _frame(self, request: Request) -> Content:
        """Return what every page shows."""
        overview, monitor = self.board.overview, self.board.monitor
        return {
            "path": request.url.path,
            "here": here(request),
            "path_params": request.path_params,
            "summary": overview.summary(),
            "problems": overview.problems(),
            "processes": monitor.processes,
            "lag": chart.line(list(monitor.lags)),
            "providers": overview.providers(),
            "may_act": self.board.access.has_cookie(request),
            "has_token": bool(self.board.access.token),
            "replay_job": self.board.replays.latest,
        }
