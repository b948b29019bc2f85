"""The edge without Kafka: the same server and route, answering as soon as a callback is judged."""

import asyncio

import uvloop

from connectors.http.access import Access
from connectors.http.client import http_client
from connectors.http.server import http_server, probes, run
from connectors.receive.jwks import KeySets
from connectors.receive.process import Edge, application
from schemas.headers import Headers
from streams import settings
from tests.support.codecs import CODECS


class Nowhere:
    """Publishes nothing and at once."""

    async def publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        return None


async def serve() -> None:
    here = settings.load()
    async with http_client() as client:
        tokens = dict.fromkeys(here.existing_providers())
        edge = Edge(
            here.existing_providers(),
            tokens,
            Nowhere(),
            CODECS,
            KeySets(client),
            Access("127.0.0.1"),
        )
        app = application(edge, probes(lambda: None))
        await run(http_server(app, here.address()), [_idle])


async def _idle() -> None:
    """A service that never ends, as the publisher is."""
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
