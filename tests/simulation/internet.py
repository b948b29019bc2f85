"""The providers' APIs as the services reach them: slow, late, limiting, or down for a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from random import Random
from typing import Any

import httpx

from connectors.providers.base import ApiRequest, ApiResponse
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Network, Reply
from tests.simulation.providers import Providers
from tests.simulation.scheduler import Process, Scheduler

# How a provider may answer, and how often without a fault.
USUAL, SLOW, LATE, DOWN, LIMITING, BROKEN = "usual", "slow", "late", "down", "limiting", "broken"
_WEIGHTS = {USUAL: 90, SLOW: 5, LATE: 1, DOWN: 2, LIMITING: 1, BROKEN: 1}
# A proxy answers in the provider's place.
_PAGE = ApiResponse(200, b"<html>one moment, please</html>", {"content-type": "text/html"})


class _Half(httpx.AsyncByteStream):
    """Half an answer: the connection breaks."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body[: len(self._body) // 2]
        raise httpx.RemoteProtocolError("the peer closed the connection")


class Internet:
    """`fault` returns how a provider answers at present, if a fault decides it; `now` returns
    microseconds.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        random: Random,
        providers: Providers,
        now: Callable[[], int],
        fault: Callable[[str], str | None],
    ) -> None:
        self.network = Network(scheduler, random)
        self._scheduler, self._random = scheduler, random
        self._providers, self._now, self._fault = providers, now, fault

    def call(
        self,
        process: Process,
        request: ApiRequest,
        receive: Callable[[Any], None],
        lost: Callable[[], None],
    ) -> None:
        name = self._providers.name_of(request.url)
        handle = partial(self._handle, name, request)
        self.network.send_once(process, f"Call {name}", handle, receive, lost)

    def _handle(self, name: str, request: ApiRequest, reply: Reply) -> None:
        """Perform the request, and answer like the mood that the provider is in."""
        random = self._random
        (usual,) = random.choices([*_WEIGHTS], [*_WEIGHTS.values()])
        match self._fault(name) or usual:
            case mood if mood == DOWN:
                headers = {"retry-after": "1"} if random.random() < 0.5 else {}
                return self._reply(0.01, reply, ApiResponse(503, b"down", headers))
            case mood if mood == LIMITING:
                return self._reply(0.01, reply, ApiResponse(429, b"", {"retry-after": "2"}))
            case mood:
                if mood == BROKEN and random.random() < 0.5:
                    return self._reply(0.01, reply, _PAGE)
                answer: Any = self._providers.respond(request, self._now())
                if mood == BROKEN:
                    answer = _Half(answer.body)
                seconds = {SLOW: (1.0, 8.0), LATE: (11.0, 30.0)}.get(mood, (0.01, 0.2))
                return self._reply(random.uniform(*seconds), reply, answer)

    def _reply(self, seconds: float, reply: Reply, answer: Any) -> None:
        self._scheduler.later(seconds, lambda: reply(answer))


class Transport(httpx.AsyncBaseTransport):
    """What httpx sends requests with."""

    def __init__(self, internet: Internet) -> None:
        self._internet = internet

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        answer: asyncio.Future[Any] = loop.create_future()

        def receive(response: Any) -> None:
            if not answer.done():
                answer.set_result(response)

        def lost() -> None:
            if not answer.done():
                answer.set_exception(httpx.ReadError("the connection is reset"))

        sent = ApiRequest(
            request.method, str(request.url), dict(request.headers), await request.aread()
        )
        self._internet.call(loop.process, sent, receive, lost)
        try:
            async with asyncio.timeout(request.extensions["timeout"]["read"]):
                response = await answer
        except TimeoutError:
            raise httpx.ReadTimeout("no answer in time", request=request) from None
        if isinstance(response, _Half):
            return httpx.Response(200, stream=response)
        return httpx.Response(response.status, headers=response.headers, content=response.body)
