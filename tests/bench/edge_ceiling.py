"""The edge without Kafka: the same server and route, answering as soon as a callback is judged."""

import asyncio

import uvloop
from starlette.applications import Starlette

from connectors.edge.access import Access
from connectors.edge.keys import KeySets
from connectors.outward import http_client
from connectors.process import http_server, probes, run
from connectors.publish import Headers
from connectors.receive import Edge, in_front, routes
from streams import settings


class Nowhere:
    """Publishes nothing and at once."""

    async def publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        return None


async def serve() -> None:
    here = settings.load()
    async with http_client() as client:
        tokens = dict.fromkeys(here.providers())
        edge = Edge(here.providers(), tokens, Nowhere(), KeySets(client), Access(None, local=True))
        app = Starlette(routes=[*routes(edge), *probes(lambda: None)])
        await run(http_server(in_front(edge, app), here.address()), [_idle])


async def _idle() -> None:
    """A service that never ends, as the publisher is."""
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
