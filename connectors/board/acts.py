"""What a person can set going on the page: replaying dead letters, cancelling a link. Every act is
a POST, after a page that says what it would do.
"""

import asyncio
import contextlib
from http import HTTPStatus
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from connectors.board import asking, cancelling, finding, queries
from connectors.board.forms import BadForm, fields
from connectors.board.pages import wants_page
from connectors.board.present import rfc3339
from connectors.board.replaying import Busy
from connectors.board.views import Views
from connectors.cancel_api import Outcome
from connectors.clock import micros_now
from schemas.records import LinkStatus

_LONGEST_NAME = 100
_LETTERS = "/dead-letters"
# A short one is done when the page comes back.
_PATIENCE_SECONDS = 3.0
_STATUSES: dict[Outcome, HTTPStatus] = {
    "DONE": HTTPStatus.OK,
    "REFUSED": HTTPStatus.CONFLICT,
    "NOT_KNOWN": HTTPStatus.NOT_FOUND,
    "LATER": HTTPStatus.SERVICE_UNAVAILABLE,
}


class Acts:
    """The endpoints, as methods that take a request."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._from = views.sources

    async def ask(self, request: Request) -> Response:
        """`GET /dead-letters/replay`: how many it would be, before anything is done."""
        try:
            asking.only(request, asking.LETTER_WORDS)
            given = asking.one_of(request, dict.fromkeys(asking.LETTER_WORDS))
            wanted = asking.wanted(given, micros_now())
        except asking.BadParameter as error:
            return self._views.wrong(request, error, back=_LETTERS)
        # What is counted is what will be done: letters that come after this are left out.
        given.setdefault("until", now_as_text())
        show = "all" if wanted.places else "open"
        reasons = await asyncio.to_thread(
            finding.letters_by_reason, self._from.store, wanted, show=show
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
            asking.only_of(given, {*asking.LETTER_WORDS, "by"})
            wanted = asking.wanted(given, micros_now())
            errand = self._from.replays.start(
                wanted, who(request, given), again=bool(wanted.places)
            )
        except (asking.BadParameter, BadForm) as error:
            return self._views.wrong(request, error, back=_LETTERS)
        except Busy:
            said = "another replay is under way"
            return self._views.wrong(request, said, HTTPStatus.CONFLICT, _LETTERS)
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

    async def ask_cancel(self, request: Request) -> Response:
        """`GET /links/{provider}/{link_id}/cancel`: what would be done, and whether it can be."""
        link = await self._link(request)
        why_not = link and self._from.cancels.why_not(link)
        if wants_page(request):
            shown = link and {"link": link, "why_not": why_not}
            return await self._views.page(request, "cancel.html", lambda: shown)
        if link is None:
            return JSONResponse({"error": "no such link"}, HTTPStatus.NOT_FOUND)
        name = {"provider": link["provider"], "link_id": link["link_id"]}
        return JSONResponse({**name, "status": link["status"], "why_not": why_not})

    async def cancel(self, request: Request) -> Response:
        """`POST /links/{provider}/{link_id}/cancel`: asks the provider to cancel the link."""
        link = await self._link(request)
        if link is None:
            return self._views.wrong(request, "no such link", HTTPStatus.NOT_FOUND, "/links")
        name = "/".join(quote(link[part], safe="") for part in ("provider", "link_id"))
        try:
            by = who(request, await fields(request))
            if why_not := self._from.cancels.why_not(link):
                if wants_page(request):
                    return RedirectResponse(f"/links/{name}/cancel", HTTPStatus.SEE_OTHER)
                return JSONResponse({"error": why_not}, HTTPStatus.CONFLICT)
            told = await self._from.cancels.cancel(link, by)
        except BadForm as error:
            return self._views.wrong(request, error, back=f"/links/{name}")
        except cancelling.Busy:
            said = "it is being cancelled already"
            return self._views.wrong(request, said, HTTPStatus.CONFLICT, f"/links/{name}")
        if wants_page(request):
            return RedirectResponse(f"/links/{name}", HTTPStatus.SEE_OTHER)
        status = _STATUSES[told.outcome]
        wrong = {} if status == HTTPStatus.OK else {"error": told.means}
        answer = {"outcome": told.outcome, "said": told.said, "noted": told.noted}
        return JSONResponse({**wrong, **answer}, status)

    async def _link(self, request: Request) -> LinkStatus | None:
        provider, link_id = request.path_params["provider"], request.path_params["link_id"]
        found = await asyncio.to_thread(queries.link, self._from.store, provider, link_id)
        return found and found.status


def who(request: Request, given: dict[str, str]) -> str:
    """In their own words, and where from."""
    name = given.get("by", "").strip()[:_LONGEST_NAME] or "somebody"
    way = "through the API" if "authorization" in request.headers else "on the page"
    return f"{name} {way}, from {request.client.host if request.client else 'nowhere'}"


def now_as_text() -> str:
    """As the board's questions take a moment."""
    return rfc3339(micros_now()) or ""
