"""The process `linkstatus sandbox`: one HTTP server for the providers' APIs and the control API.

`/{provider}/…` is the provider's API, and `/{provider}-auth/…` its token endpoint.
"""

import asyncio
import contextlib

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from connectors.http.server import http_server, probes, run
from connectors.providers.base import ApiRequest
from connectors.sandbox.config import SandboxConfig
from connectors.sandbox.control import control_api
from connectors.sandbox.simulation import Simulation
from connectors.sandbox.store import Store

_METHODS = ["GET", "POST", "PUT", "DELETE"]


def make_app(simulation: Simulation) -> Starlette:
    """Return the sandbox's web app. The caller runs `simulation.deliveries.run`."""

    async def api(request: Request) -> Response:
        provider = request.path_params["mount"].removesuffix("-auth")
        if provider not in simulation.simulators:
            return PlainTextResponse(f"unknown provider {provider}\n", 404)
        fault = simulation.faults[provider]
        await asyncio.sleep(fault.delay_seconds)
        if fault.is_down():
            return PlainTextResponse("down\n", 503, {"retry-after": "1"})
        response = simulation.respond(provider, await _api_request(request))
        return Response(response.body, response.status, dict(response.headers))

    control = Mount("/control", control_api(simulation))
    providers = Route("/{mount}/{rest:path}", api, methods=_METHODS)
    return Starlette(routes=[*probes(lambda: None), control, providers])


async def _api_request(request: Request) -> ApiRequest:
    """Return the request as the simulator sees it: its path below the mount, its query as sent."""
    query = request.scope["query_string"].decode("latin-1")
    url = "/" + request.path_params["rest"] + (f"?{query}" if query else "")
    return ApiRequest(request.method, url, dict(request.headers), await request.body())


async def run_sandbox(config: SandboxConfig) -> None:
    """Serve the simulated providers until SIGINT or SIGTERM. A restart continues the last run."""
    folder = config.data_dir / "sandbox"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(Store(folder / "sandbox.sqlite")) as store:
        simulation = Simulation(config, store)
        app = make_app(simulation)
        await run(http_server(app, config.address), [simulation.deliveries.run])
