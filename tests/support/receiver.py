"""A receiver of webhooks, as a service behind `linkstatus notify` has one."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

# 32 bytes each.
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OTHER_SECRET = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="


class Attempt(NamedTuple):
    """An attempt whose signature is right; `number` counts those of the same event from 1."""

    id: str
    type: str
    data: dict[str, Any]
    number: int

    @property
    def subject(self) -> str:
        """The order, or the link where the event has none."""
        return str(self.data.get("order_id") or self.data["link_id"])


async def accept(_: Attempt) -> Response:
    return Response(status_code=204)


@dataclass
class Receiver:
    """Checks each signature, and answers as `answer` says. `accepted` are the events by their first
    acceptance, in order; `again` counts further ones; a wrong signature is in `wrong`.
    """

    secret: str = SECRET
    answer: Callable[[Attempt], Awaitable[Response]] = accept
    attempts: list[Attempt] = field(default_factory=list)
    accepted: dict[str, Attempt] = field(default_factory=dict)
    again: int = 0
    wrong: list[str] = field(default_factory=list)
    _numbers: Counter[str] = field(default_factory=Counter)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/hooks", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        try:
            body = await request.body()
        except ClientDisconnect:
            # The sender ended, or the network failed: it sends the event again.
            return Response(status_code=400)
        try:
            Webhook(self.secret).verify(body, dict(request.headers))
        except Exception as error:
            self.wrong.append(repr(error))
            return Response(status_code=401)
        event, event_id = json.loads(body), request.headers["webhook-id"]
        self._numbers[event_id] += 1
        attempt = Attempt(event_id, event["type"], event["data"], self._numbers[event_id])
        self.attempts.append(attempt)
        response = await self.answer(attempt)
        if 200 <= response.status_code < 300:
            self.again += event_id in self.accepted
            self.accepted.setdefault(event_id, attempt)
        return response

    def accepted_of(self, subject: str) -> list[str]:
        """Return the ids of the accepted events of an order or a link, in order."""
        return [one.id for one in self.accepted.values() if one.subject == subject]


def statuses(*each: int, then: int = 204) -> Callable[[Attempt], Awaitable[Response]]:
    """Return what answers the attempts of every event with these statuses in turn."""

    async def answer(attempt: Attempt) -> Response:
        await asyncio.sleep(0)
        number = attempt.number - 1
        return Response(status_code=each[number] if number < len(each) else then)

    return answer
