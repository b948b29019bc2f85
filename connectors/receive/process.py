"""`linkstatus receive`: the edge. It judges authenticity and size, never meaning, and a stuck
worker cannot stop it.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from fastapi import APIRouter
from pydantic import SecretStr
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.http.access import Access
from connectors.http.api import Guard, create_api
from connectors.http.client import http_client
from connectors.http.refusals import Refusal
from connectors.http.server import Address, http_server, in_front, probes, run
from connectors.kafka.cluster import Cluster
from connectors.kafka.publisher import Publisher, Publishes
from connectors.providers.base import Provider
from connectors.receive import links
from connectors.receive.callbacks import Callbacks
from connectors.receive.jwks import KeySets, KeySource
from connectors.receive.member import REPORT_SECONDS, Member, Memory
from connectors.receive.refusals import PREFIX, Refusals
from schemas.codec import Codecs


@dataclass(frozen=True, slots=True)
class ReceiveConfig:
    """What the edge needs. A provider without a path token takes callbacks at any path below its
    own. `token` allows to register links from other machines.
    """

    cluster: Cluster
    codecs: Codecs
    providers: Mapping[str, Provider]
    path_tokens: Mapping[str, SecretStr | None]
    address: Address
    token: SecretStr | None = None


def _new_key() -> bytes:
    return os.urandom(16)


@dataclass(frozen=True, slots=True)
class Edge:
    """An opened edge: serve `with_callbacks(edge, app)`, and `router(edge)` in the app's API."""

    providers: Mapping[str, Provider]
    path_tokens: Mapping[str, SecretStr | None]
    publisher: Publishes
    codecs: Codecs
    keys: KeySource
    access: Access
    # It lives as long as the edge: later, nothing leads from a record to an address.
    sender_key: bytes = field(default_factory=_new_key, repr=False)
    refusals: Refusals = field(default_factory=Refusals)

    def count_refusal(self, url: bytes, refusal: Refusal) -> None:
        """Count a request that the HTTP server refuses."""
        self.refusals.count_of_server(self.providers, url, refusal)


def router(edge: Edge) -> APIRouter:
    """The edge's part of the JSON API."""
    return links.router(edge.providers.keys(), edge.publisher, edge.codecs)


def with_callbacks(edge: Edge, app: ASGIApp) -> ASGIApp:
    """`app` with the callback URLs before it: its routing and middleware would cost a callback a
    third more.
    """
    callbacks = Callbacks(
        *(edge.providers, edge.path_tokens, edge.publisher, edge.keys, edge.sender_key),
        edge.refusals,
    )

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["path"].startswith(PREFIX):
                return await callbacks(scope, receive, send)
            if scope["method"] == "POST" and edge.access.refusal(Request(scope)):
                # A provider whose callback URL is wrong, or a program without the token.
                send = edge.refusals.counting(send)
        await app(scope, receive, send)

    return front


@asynccontextmanager
async def opened(
    config: ReceiveConfig, sender_key: bytes | None = None
) -> AsyncIterator[tuple[Edge, Publisher]]:
    """Open an edge and its publisher. `publish` must run as a service beside the server."""
    publisher = Publisher(config.cluster)
    access = Access(config.address.host, config.token)
    async with http_client() as client:
        keys = KeySets(client)
        providers, tokens, codecs = config.providers, config.path_tokens, config.codecs
        key = sender_key or _new_key()
        yield Edge(providers, tokens, publisher, codecs, keys, access, key), publisher


async def publish(edge: Edge, publisher: Publisher) -> None:
    """Keep the publisher connected, and publish what the edge refuses. Never ends by itself."""
    async with asyncio.TaskGroup() as group:
        connecting = group.create_task(publisher.run())
        try:
            await edge.refusals.run(publisher, edge.codecs)
        finally:
            # Only now: the last refusals need it.
            connecting.cancel()


def application(edge: Edge, probes: Sequence[BaseRoute]) -> ASGIApp:
    """The edge alone."""
    api = Guard(create_api(router(edge)), edge.access)
    return with_callbacks(edge, in_front(probes, api))


async def run_receive(config: ReceiveConfig, member: Member | None = None) -> None:
    """Serve the edge until a signal ends it, alone or as one of several processes."""
    if member:
        return await _run_member(config, member)
    async with opened(config) as (edge, publisher):
        app = application(edge, probes(publisher.why_not_ready))
        server = http_server(app, config.address, refused=edge.count_refusal)
        await run(server, [partial(publish, edge, publisher)])


async def _run_member(config: ReceiveConfig, member: Member) -> None:
    """Each process answers the probes for all of them."""
    memory = Memory(member.memory, member.count)
    async with opened(config, memory.key()) as (edge, publisher):
        app = application(edge, probes(memory.why_not_ready, member.metrics()))
        shares = memory.shares(member.number)
        server = http_server(app, config.address, shares, edge.count_refusal)

        async def report() -> None:
            while True:
                memory.report(member.number, publisher.why_not_ready())
                await asyncio.sleep(REPORT_SECONDS)

        await run(server, [partial(publish, edge, publisher), report], member.listening())
