"""What a person can set going on the page: replaying dead letters. Every act is a POST."""

import asyncio
import contextlib
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from connectors.board import asking, finding
from connectors.board.forms import BadForm, fields
from connectors.board.health import micros_now
from connectors.board.pages import wants_page
from connectors.board.present import rfc3339
from connectors.board.replaying import Busy
from connectors.board.views import Views

_FILTERS = ("provider", "reason", "stage", "since", "until", "place")
_LONGEST_NAME = 100
# A short one is done when the page comes back.
_PATIENCE_SECONDS = 3.0


class Acts:
    """The endpoints, as methods that take a request."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._from = views.sources

    async def ask(self, request: Request) -> Response:
        """`GET /dead-letters/replay`: how many it would be, before anything is done."""
        try:
            given = asking.one_of(request, dict.fromkeys(_FILTERS))
            wanted = asking.wanted(given, micros_now())
        except asking.BadParameter as error:
            return JSONResponse({"error": str(error), "field": error.name}, 422)
        # What is counted is what will be done: letters that come after this are left out.
        given.setdefault("until", _now())
        reasons = await asyncio.to_thread(
            finding.letters_by_reason, self._from.store, wanted, fresh=not wanted.places
        )
        count = sum(number for _, _, number in reasons)
        if not wants_page(request):
            return JSONResponse({"count": count})
        shown = {"given": given, "reasons": reasons, "count": count}
        return await self._views.page(request, "replay.html", lambda: shown)

    async def replay(self, request: Request) -> Response:
        """`POST /dead-letters/replay`: publishes those that are named or chosen once more."""
        try:
            given = await fields(request)
            wanted = asking.wanted(given, micros_now())
            errand = self._from.replays.start(
                wanted, _who(request, given), again=bool(wanted.places)
            )
        except asking.BadParameter as error:
            return JSONResponse({"error": str(error), "field": error.name}, 422)
        except BadForm as error:
            return JSONResponse({"error": str(error)}, 422)
        except Busy:
            return JSONResponse({"error": "another replay is under way"}, HTTPStatus.CONFLICT)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await asyncio.shield(errand)
        if wants_page(request):
            place = given.get("place")
            back = (
                f"/dead-letters/{place}"
                if place
                else f"/dead-letters?{urlencode({'show': 'open'})}"
            )
            return RedirectResponse(back, HTTPStatus.SEE_OTHER)
        told = self._from.replays.latest
        assert told  # noqa: S101 (it was just begun)
        status = HTTPStatus.ACCEPTED if not told.over else HTTPStatus.OK
        return JSONResponse(
            {
                "chosen": told.chosen,
                "published": told.done,
                "failed": told.failed,
                "said": told.over,
            },
            status,
        )


def _who(request: Request, given: dict[str, str]) -> str:
    """In their own words, and where from."""
    name = given.get("by", "").strip()[:_LONGEST_NAME] or "somebody"
    return f"{name} on the page, from {request.client.host if request.client else 'nowhere'}"


def _now() -> str:
    return rfc3339(micros_now()) or ""
