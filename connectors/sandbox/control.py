"""The control API, under /control: what a payer, a dashboard or a bad day does to the providers."""

import time
from dataclasses import asdict
from random import SystemRandom
from typing import TypeVar

from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.registry import PROVIDERS
from connectors.sandbox.plan import plan
from connectors.sandbox.simulator import NewLink
from connectors.sandbox.sites import sandbox_of
from connectors.sandbox.world import World


class Seeding(BaseModel):
    provider: str
    status: str


class Creation(BaseModel):
    provider: str
    link_id: str | None = None
    amount_minor: int = Field(default=10_000, gt=0)
    currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")
    order_id: str | None = None


class Move(BaseModel):
    words: list[str]


class Play(BaseModel):
    links: int = Field(default=24, ge=1, le=10_000)
    seed: int = 1
    run: str = Field(default="", max_length=100)
    spread_seconds: float = Field(default=4.0, ge=0, le=3600)
    hold: bool = False


class Ailment(BaseModel):
    provider: str
    seconds: float = Field(ge=0, le=86_400)


Body = TypeVar("Body", bound=BaseModel)


async def _body(request: Request, kind: type[Body]) -> Body:
    """The request's body. Raises HTTPException: 422 what is wrong, 404 unknown provider."""
    try:
        body = kind.model_validate_json(await request.body() or b"{}")
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise HTTPException(422, wrong) from None
    if getattr(body, "provider", "ping") not in PROVIDERS:
        raise HTTPException(404, "unknown provider")
    return body


class Control:
    """Handlers of the control API."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def seed(self, request: Request) -> Response:
        """The link of the seed's examples gets this status, without callbacks."""
        body = await _body(request, Seeding)
        self._world.reseed(body.provider, body.status)
        return Response(status_code=204)

    async def create(self, request: Request) -> Response:
        body = await _body(request, Creation)
        sandbox = sandbox_of(body.provider)
        link_id = body.link_id or sandbox.new_id(SystemRandom())
        currency = body.currency or sandbox.CURRENCY
        self._world.create(
            body.provider, NewLink(link_id, body.amount_minor, currency, body.order_id)
        )
        return JSONResponse({"provider": body.provider, "link_id": link_id}, 201)

    async def move(self, request: Request) -> Response:
        """What happens to a link, in the provider's words, one by one; callbacks follow."""
        body = await _body(request, Move)
        provider, link_id = request.path_params["provider"], request.path_params["link_id"]
        try:
            self._world.move(provider, link_id, body.words)
        except KeyError as error:
            raise HTTPException(404, f"no such provider, link or word: {error.args[0]}") from None
        return Response(status_code=204)

    async def play(self, request: Request) -> Response:
        """Lives a whole scenario; answers with what must be known of it in the end."""
        body = await _body(request, Play)
        scenario = plan(body.links, body.seed, body.run, body.spread_seconds)
        self._world.stage(scenario, body.run, body.hold)
        return JSONResponse(
            {
                "elsewhere": self._world.elsewhere,
                "registrations": [
                    link.registration for link in scenario.links if link.registration
                ],
                "links": [asdict(link) for link in scenario.expected_links],
                "orders": [asdict(order) for order in scenario.expected_orders],
            },
            201,
        )

    async def release(self, request: Request) -> Response:
        return JSONResponse({"released": self._world.release(request.path_params["run"])})

    async def deliveries(self, request: Request) -> Response:
        """How many callbacks are owed, delivered, given up; `?run=` of one play."""
        return JSONResponse(self._world.store.counts(request.query_params.get("run")))

    async def log(self, request: Request) -> Response:
        provider, order_id = request.path_params["provider"], request.path_params.get("order_id")
        return JSONResponse(self._world.log(provider, order_id))

    async def delay(self, request: Request) -> Response:
        """From now on the provider's API takes that long to answer."""
        body = await _body(request, Ailment)
        self._world.troubles[body.provider].delay_seconds = body.seconds
        return Response(status_code=204)

    async def down(self, request: Request) -> Response:
        """For that long the provider's API answers 503."""
        body = await _body(request, Ailment)
        self._world.troubles[body.provider].down_until = time.monotonic() + body.seconds
        return Response(status_code=204)


def control_routes(world: World) -> list[BaseRoute]:
    """The routes of the control API."""
    control = Control(world)
    return [
        Route("/control/seed", control.seed, methods=["POST"]),
        Route("/control/links", control.create, methods=["POST"]),
        Route("/control/links/{provider}/{link_id}", control.move, methods=["POST"]),
        Route("/control/play", control.play, methods=["POST"]),
        Route("/control/play/{run}/release", control.release, methods=["POST"]),
        Route("/control/deliveries", control.deliveries),
        Route("/control/{provider}/log", control.log),
        Route("/control/{provider}/orders/{order_id}/log", control.log),
        Route("/control/delay", control.delay, methods=["POST"]),
        Route("/control/down", control.down, methods=["POST"]),
    ]
