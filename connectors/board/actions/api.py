"""Actions of programs: mark, replay, cancel. Each `GET` says what the `POST` would do."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from connectors.board import models
from connectors.board.actions.marking import ANOMALIES, DEAD_LETTERS, Marked, mark_all
from connectors.board.api import TheBoard
from connectors.board.board import Board
from connectors.board.database import anomalies, dead_letters, links
from connectors.board.http import action_parameters, parameters
from connectors.board.http.refusal import Refused
from connectors.http.api import errors
from connectors.providers.cancel_api import Outcome
from schemas.records import LinkStatus

_STATUSES: dict[Outcome, HTTPStatus] = {
    "DONE": HTTPStatus.OK,
    "REFUSED": HTTPStatus.CONFLICT,
    "NOT_KNOWN": HTTPStatus.NOT_FOUND,
    "LATER": HTTPStatus.SERVICE_UNAVAILABLE,
}
_CANCEL = "/links/{provider}/{link_id:path}/cancel"
_LOOKUP = "/links/{provider}/{link_id:path}/lookup"

router = APIRouter(tags=["board"], responses=errors(503))
_actions = APIRouter(
    tags=["board"],
    responses=errors(403, 503),
    dependencies=[Depends(HTTPBearer(auto_error=False))],
)


@router.get("/anomalies/resolve", response_model=models.Matches)
def count_anomalies(board: TheBoard, query: Annotated[parameters.AnomalyFilter, Query()]) -> Any:
    """How many open anomalies these parameters select; it changes nothing."""
    return {"count": anomalies.count(board.store, query.filter(), show="open")}


@_actions.post("/anomalies/resolve")
async def resolve_anomalies(
    request: Request, board: TheBoard, form: action_parameters.ResolveAnomalies
) -> Marked:
    """Resolve open anomalies; without a filter, all. `notices` keeps who did it."""
    return await mark_all(board, request, ANOMALIES, form, resolved=True)


@_actions.post("/anomalies/reopen")
async def reopen_anomaly(
    request: Request, board: TheBoard, form: action_parameters.ReopenAnomaly
) -> Marked:
    """Reopen a resolved anomaly. `notices` keeps who did it."""
    return await mark_all(board, request, ANOMALIES, form, resolved=False)


@router.get("/dead-letters/resolve", response_model=models.Matches)
def count_dead_letters_to_resolve(
    board: TheBoard, query: Annotated[parameters.DeadLetterFilter, Query()]
) -> Any:
    """How many open dead letters these parameters select; it changes nothing."""
    return {"count": dead_letters.count(board.store, query.filter(), show="open")}


@_actions.post("/dead-letters/resolve")
async def resolve_dead_letters(
    request: Request, board: TheBoard, form: action_parameters.ResolveDeadLetters
) -> Marked:
    """Resolve open dead letters; without a filter, all. `notices` keeps who did it."""
    return await mark_all(board, request, DEAD_LETTERS, form, resolved=True)


@_actions.post("/dead-letters/reopen")
async def reopen_dead_letter(
    request: Request, board: TheBoard, form: action_parameters.ReopenDeadLetter
) -> Marked:
    """Reopen a resolved dead letter. `notices` keeps who did it."""
    return await mark_all(board, request, DEAD_LETTERS, form, resolved=False)


@router.get("/dead-letters/replay", response_model=models.Matches)
def count_dead_letters_to_replay(
    board: TheBoard, query: Annotated[parameters.DeadLetterFilter, Query()]
) -> Any:
    """How many dead letters a replay with these parameters would publish; it changes nothing."""
    show = "all" if query.place else "open"
    return {"count": dead_letters.count(board.store, query.filter(), show=show)}


@_actions.post(
    "/dead-letters/replay",
    response_model=models.ReplayState,
    responses={202: {"model": models.ReplayState}, **errors(409)},
)
async def replay_dead_letters(
    request: Request, response: Response, board: TheBoard, form: action_parameters.ReplayDeadLetters
) -> Any:
    """Publish dead letters again; without a filter, all open ones. 202: it is under way."""
    job = await board.replays.start(form.filter(), form.who(request), again=bool(form.place))
    response.status_code = HTTPStatus.OK if job.result else HTTPStatus.ACCEPTED
    return job


@router.get(_CANCEL, response_model=models.Cancellable, responses=errors(404))
def is_cancellable(board: TheBoard, provider: str, link_id: str) -> Any:
    """Whether the link can be cancelled from here; it changes nothing."""
    link = _find(board, provider, link_id)
    return {**link, "reason": board.cancellations.why_not(link)}


@_actions.post(_CANCEL, response_model=models.Cancelled, responses=errors(404, 409))
async def cancel_link(
    request: Request,
    board: TheBoard,
    provider: str,
    link_id: str,
    form: action_parameters.Actor = action_parameters.Actor(),  # noqa: B008
) -> Any:
    """Ask the provider once to cancel the link. `notices` keeps who asked.

    409: the provider refused, or the link cannot be cancelled. 404: unknown here, or there. 503: no
    definite answer. `outcome`, `message` and `recorded` come with each answer of the provider.
    """
    link = await asyncio.to_thread(_find, board, provider, link_id)
    if reason := board.cancellations.why_not(link):
        raise Refused(reason)
    answer = await board.cancellations.cancel(link, form.who(request))
    status = _STATUSES[answer.outcome]
    error = {} if status == HTTPStatus.OK else {"error": answer.meaning}
    parts = {"outcome": answer.outcome, "message": answer.message, "recorded": answer.recorded}
    return JSONResponse({**error, **parts}, status)


@_actions.post(
    _LOOKUP, status_code=202, response_model=models.LookupRequested, responses=errors(404, 409)
)
async def look_up_link(board: TheBoard, provider: str, link_id: str) -> Any:
    """Request a lookup of the link. No callback reports a refund at Ping, for example.

    The link changes when the provider answers. 409: a lookup is not possible.
    """
    link = await asyncio.to_thread(_find, board, provider, link_id)
    await board.lookups.request(link)
    return {"provider": provider, "link_id": link_id}


def _find(board: Board, provider: str, link_id: str) -> LinkStatus:
    link = links.find(board.store, provider, link_id)
    if link is None:
        raise HTTPException(404, "no such link")
    return link.status


router.include_router(_actions)
