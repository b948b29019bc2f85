"""The board's routes: pages for browsers and the JSON API for programs, behind the access rules."""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from connectors.board import api
from connectors.board.actions import api as actions
from connectors.board.actions import pages as action_pages
from connectors.board.board import Board, BoardConfig
from connectors.board.database.store import StoreUnavailable
from connectors.board.exports import EXPORTS
from connectors.board.http.negotiation import ByAccept
from connectors.board.http.refusal import Refused
from connectors.board.pages.pages import Pages
from connectors.board.pages.renderer import STATIC, Renderer
from connectors.board.pages.sign_in import SignIn
from connectors.http.api import Guard, create_api, error_response
from connectors.http.server import in_front
from connectors.schema_registry import endpoints

# The sign-in page needs them, and they hold no data.
_OPEN = frozenset({"/static/board.css", "/static/icon.svg"})


def site(board: Board, *routers: APIRouter) -> ASGIApp:
    """The board's pages and its JSON API, to which `routers` add."""
    renderer = Renderer()
    sign_in = SignIn(board.access, renderer)
    by_accept = ByAccept(
        _pages(board, renderer),
        _api(board, routers),
        only_pages=["/static/"],
        only_api=["/registry/", "/stream", "/openapi.json", *(f"/{n}.csv" for n in EXPORTS)],
    )
    guarded = Guard(by_accept, board.access, sign_in.refuse, _OPEN)
    return in_front(sign_in.routes(), sign_in.by_link(guarded))


def json_api(config: BoardConfig, routers: Iterable[APIRouter] = ()) -> FastAPI:
    """The JSON API; its endpoints expect the board in `state.board`."""
    registry = [endpoints.ids(config.codecs)]
    if config.registry:
        registry.append(endpoints.subjects(config.providers, config.cluster.prefix))
    # The routes of actions come first: a link id may hold slashes.
    return create_api(*routers, actions.router, api.router, *registry)


def _api(board: Board, routers: Iterable[APIRouter]) -> FastAPI:
    app = json_api(board.config, routers)
    app.state.board = board
    app.add_exception_handler(StoreUnavailable, _store_unavailable)
    app.add_exception_handler(Refused, _refused)
    return app


async def _refused(_: Request, error: Any) -> Response:
    return error_response(error.status, str(error))


async def _store_unavailable(_: Request, error: Exception) -> Response:
    api.log.error("%s", error)
    return error_response(503, "the board's database cannot be read now; try again later")


def _pages(board: Board, renderer: Renderer) -> Starlette:
    pages = Pages(renderer, board)
    app = Starlette(
        routes=[
            Mount("/static", StaticFiles(directory=STATIC)),
            *action_pages.routes(pages),
            *(Route(path, page) for path, page in pages.by_path().items()),
        ],
        exception_handlers={
            404: pages.not_found,
            Refused: pages.refused,
            StoreUnavailable: pages.unavailable,
        },
    )
    app.router.redirect_slashes = False
    return app
