"""`linkstatus receive`: the edge. It judges authenticity and size, never meaning, and a stuck
worker cannot stop it.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.edge.access import Access
from connectors.edge.callbacks import PREFIX, Callbacks
from connectors.edge.keys import KeySets, KeySource
from connectors.edge.links import LinksEndpoint
from connectors.edge.openapi import OpenApi
from connectors.kafka import Cluster
from connectors.loopback import is_loopback
from connectors.outward import http_client
from connectors.process import Address, http_server, probes, run
from connectors.provider import Provider
from connectors.publish import Publisher, Publishes


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """What the edge needs: `path_tokens` by provider; one without takes callbacks at any path below
    its own. `token` lets act from elsewhere.
    """

    cluster: Cluster
    providers: Mapping[str, Provider]
    path_tokens: Mapping[str, SecretStr | None]
    address: Address
    token: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """What the edge's routes work with."""

    providers: Mapping[str, Provider]
    path_tokens: Mapping[str, SecretStr | None]
    publisher: Publishes
    keys: KeySource
    access: Access


def routes(edge: Edge) -> list[Route]:
    """POST /links, and the document of it, the callback URLs and the board. The callback URLs
    themselves are not among them: see `in_front`.
    """
    links = LinksEndpoint(edge.providers.keys(), edge.publisher, edge.access)
    return [
        Route("/links", links.post, methods=["POST"]),
        Route("/openapi.json", OpenApi(edge.providers.keys(), edge.access).get),
    ]


def in_front(edge: Edge, app: ASGIApp) -> ASGIApp:
    """`app` with the callback URLs before it: its routing and middleware would cost a callback a
    third more.
    """
    callbacks = Callbacks(edge.providers, edge.path_tokens, edge.publisher, edge.keys)

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        to_us = scope["type"] == "http" and scope["path"].startswith(PREFIX)
        await (callbacks if to_us else app)(scope, receive, send)

    return front


@asynccontextmanager
async def opened(config: EdgeConfig) -> AsyncIterator[tuple[Edge, Publisher]]:
    """An edge, and its way to Kafka: to be run as a service beside the server."""
    publisher = Publisher(config.cluster)
    access = Access(config.token, local=is_loopback(config.address.host))
    async with http_client() as client:
        keys = KeySets(client)
        yield Edge(config.providers, config.path_tokens, publisher, keys, access), publisher


async def run_receive(config: EdgeConfig) -> None:
    """Serves the edge until it is told to end."""
    async with opened(config) as (edge, publisher):
        app = Starlette(routes=[*routes(edge), *probes(publisher.why_not_ready)])
        await run(http_server(in_front(edge, app), config.address), [publisher.run])
