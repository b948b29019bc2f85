"""The sandbox's host: one HTTP server for the four providers' APIs and for the control API.

`/{provider}/…` is the provider's API and `/{provider}-auth/…` where it gives out tokens.
"""

import asyncio
import contextlib

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from connectors.process import http_server, probes, run
from connectors.provider import ApiRequest
from connectors.sandbox.control import control_routes
from connectors.sandbox.sites import SandboxConfig
from connectors.sandbox.store import Store
from connectors.sandbox.world import World

_METHODS = ["GET", "POST", "PUT", "DELETE"]


def make_app(world: World) -> Starlette:
    """The host of these providers. To run the courier (`world.courier.run`) is up to the caller."""

    async def api(request: Request) -> Response:
        provider = request.path_params["mount"].removesuffix("-auth")
        if provider not in world.simulators:
            return PlainTextResponse("unknown provider\n", 404)
        trouble = world.troubles[provider]
        await asyncio.sleep(trouble.delay_seconds)
        if trouble.is_down():
            return PlainTextResponse("down\n", 503, {"retry-after": "1"})
        answer = world.answer(provider, await _inward(request))
        return Response(answer.body, answer.status, dict(answer.headers))

    routes = [*probes(lambda: None), *control_routes(world)]
    return Starlette(routes=[*routes, Route("/{mount}/{rest:path}", api, methods=_METHODS)])


async def _inward(request: Request) -> ApiRequest:
    """The request as the simulator sees it: below its mount, the query as it was sent."""
    query = request.scope["query_string"].decode("latin-1")
    url = "/" + request.path_params["rest"] + (f"?{query}" if query else "")
    return ApiRequest(request.method, url, dict(request.headers), await request.body())


async def run_sandbox(config: SandboxConfig) -> None:
    """Serves the simulated providers until SIGINT or SIGTERM; goes on where the last run was."""
    folder = config.data_dir / "sandbox"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(Store(folder / "sandbox.sqlite")) as store:
        world = World(config, store)
        await run(http_server(make_app(world), config.address), [world.courier.run])
