"""Actions of people: mark, replay, cancel. Each `POST` comes from a page that says what it does."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from connectors.board.actions.marking import ANOMALIES, DEAD_LETTERS, MOST, Kind, mark_all
from connectors.board.board import Board
from connectors.board.database import dead_letters, links
from connectors.board.http import action_parameters, parameters
from connectors.board.http.forms import back, fields
from connectors.board.http.parameters import parse
from connectors.board.pages.content import Content
from connectors.board.pages.pages import Pages
from connectors.clock import micros_now
from connectors.serialize import rfc3339
from schemas.records import LinkStatus

_CANCEL = "/links/{provider}/{link_id:path}/cancel"
_LOOKUP = "/links/{provider}/{link_id:path}/lookup"


@dataclass(frozen=True, slots=True)
class _Marking:
    """The pages of one kind of row. `path` is its list, and the parameter `id` names one row."""

    path: str
    template: str
    id: str
    filter: type[parameters.AnomalyFilter | parameters.DeadLetterFilter]
    resolve: type[action_parameters.Marker]
    reopen: type[action_parameters.Marker]
    rows: Kind


_MARKINGS = (
    _Marking(
        *("/anomalies", "resolve_anomalies.html", "event_id", parameters.AnomalyFilter),
        *(action_parameters.ResolveAnomalies, action_parameters.ReopenAnomaly, ANOMALIES),
    ),
    _Marking(
        *("/dead-letters", "resolve_dead_letters.html", "place", parameters.DeadLetterFilter),
        *(action_parameters.ResolveDeadLetters, action_parameters.ReopenDeadLetter, DEAD_LETTERS),
    ),
)


def routes(pages: Pages) -> Iterator[Route]:
    """Return the routes of the actions."""

    def post(path: str, action: Callable[..., Any], *of: Any, **how: Any) -> Route:
        return Route(path, partial(action, pages.board, *of, **how), methods=["POST"])

    for kind in _MARKINGS:
        question = pages.page(kind.template, partial(_what_to_resolve, kind))
        yield Route(f"{kind.path}/resolve", question)
        yield post(f"{kind.path}/resolve", _mark, kind, kind.resolve, resolved=True)
        yield post(f"{kind.path}/reopen", _mark, kind, kind.reopen, resolved=False)
    yield Route("/dead-letters/replay", pages.page("replay.html", _what_to_replay))
    yield post("/dead-letters/replay", _replay)
    yield Route(_CANCEL, pages.page("cancel.html", _what_to_cancel))
    yield post(_CANCEL, _cancel)
    yield post(_LOOKUP, _look_up)


def _what_to_resolve(kind: _Marking, board: Board, request: Request) -> Content:
    texts = dict(request.query_params)
    origin = back(texts.pop("back", None), "")
    query = parse(kind.filter, texts)
    selection, chosen = (board.store, query.filter()), query.chosen()
    groups = kind.rows.groups(*selection)
    return {
        "groups": groups,
        "count": sum(number for _, _, number in groups),
        "named": kind.rows.search(*selection, show="open", limit=1) if kind.id in chosen else [],
        # What comes later, the person did not see.
        "fields": chosen if kind.id in chosen else _until_now(chosen),
        "back": origin,
        "limit": MOST,
    }


def _until_now(chosen: dict[str, str]) -> dict[str, str]:
    return {"until": rfc3339(micros_now()) or "", **chosen}


async def _mark(
    board: Board,
    kind: _Marking,
    form: type[action_parameters.Marker],
    request: Request,
    *,
    resolved: bool,
) -> Response:
    texts = await fields(request)
    # The list that the person came from.
    narrowing = kind.filter.model_fields.keys() - {kind.id, "until"}
    narrowed = urlencode({name: text for name, text in texts.items() if name in narrowing})
    origin = back(texts.pop("back", None), f"{kind.path}?{narrowed}" if narrowed else kind.path)
    await mark_all(board, request, kind.rows, parse(form, texts), resolved=resolved)
    return _see(origin)


def _what_to_replay(board: Board, request: Request) -> Content:
    query = parse(parameters.DeadLetterFilter, request.query_params)
    show = "all" if query.place else "open"
    reasons = dead_letters.count_by_reason(board.store, query.filter(), show=show)
    count = sum(number for _, _, number in reasons)
    return {"fields": _until_now(query.chosen()), "reasons": reasons, "count": count}


async def _replay(board: Board, request: Request) -> Response:
    form = parse(action_parameters.ReplayDeadLetters, await fields(request))
    await board.replays.start(form.filter(), form.who(request), again=bool(form.place))
    return _see(f"/dead-letters{f'/{form.place}' if form.place else '?show=open'}")


def _what_to_cancel(board: Board, request: Request) -> Content | None:
    """Return the link, and whether it can be cancelled."""
    link = _find(board, request)
    return link and {"link": link, "why_not": board.cancellations.why_not(link)}


async def _cancel(board: Board, request: Request) -> Response:
    link = await _existing(board, request)
    page = _page(link)
    if board.cancellations.why_not(link):
        return _see(f"{page}/cancel")
    form = parse(action_parameters.Actor, await fields(request))
    await board.cancellations.cancel(link, form.who(request))
    return _see(page)


async def _look_up(board: Board, request: Request) -> Response:
    link = await _existing(board, request)
    await board.lookups.request(link)
    return _see(_page(link))


def _page(link: LinkStatus) -> str:
    return f"/links/{quote(link['provider'], safe='')}/{quote(link['link_id'], safe='')}"


async def _existing(board: Board, request: Request) -> LinkStatus:
    link = await asyncio.to_thread(_find, board, request)
    if link is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return link


def _find(board: Board, request: Request) -> LinkStatus | None:
    link = links.find(board.store, **request.path_params)
    return link and link.status


def _see(page: str) -> Response:
    return RedirectResponse(page, HTTPStatus.SEE_OTHER)
