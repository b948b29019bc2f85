"""The one place that wires: from settings to the processes' entry points.

What a process needs is imported when it starts, so that a short command stays short.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from connectors.registry import ORDER_APIS, PROVIDERS
from schemas.topics import Topic, all_topics
from streams.settings import BadSettings, Settings

if TYPE_CHECKING:
    from random import Random

    from pydantic import SecretStr

    from connectors.board import BoardConfig
    from connectors.kafka import Cluster
    from connectors.order_api import OrderApi
    from connectors.receive import EdgeConfig
    from connectors.sandbox.play import PlayResult
    from connectors.sandbox.send import Post, Reply
    from connectors.sandbox.sites import SandboxConfig
    from streams.rebuild import Rebuild


class Sending(NamedTuple):
    """What `send` is asked for. `signed_url` and `to` name a receiver that is not our edge."""

    posts: Sequence[Post]
    repeat: int = 1
    chance: Random | None = None
    delay: float = 0.0
    token: str | None = None
    to: str | None = None
    signed_url: str | None = None


def topics() -> tuple[Topic[Any], ...]:
    """Every topic of an installation."""
    return all_topics(PROVIDERS)


def receive(settings: Settings) -> None:
    """The edge, until a signal ends it."""
    from connectors.receive import run_receive
    from streams import schema_ids

    schema_ids.prepare(settings)
    _run(settings, "receive", partial(run_receive, _edge_config(settings)))


def board(settings: Settings) -> None:
    """The board, until a signal ends it."""
    from connectors.board import run_board
    from streams import schema_ids

    schema_ids.prepare(settings)
    _run(settings, "board", partial(run_board, _board_config(settings)))


def web(settings: Settings) -> None:
    """The edge and the board in one process on one port, until a signal ends it."""
    from connectors.web import run_web
    from streams import schema_ids

    schema_ids.prepare(settings)
    _run(settings, "web", partial(run_web, _edge_config(settings), _board_config(settings)))


def work(settings: Settings) -> None:
    """The Faust worker, until a signal ends it."""
    from streams.work import run

    run(settings, traced(settings, "work"))


def lookup(settings: Settings) -> None:
    """The process that asks the providers' APIs, until a signal ends it."""
    from connectors.lookup import Limits, run_lookup
    from streams import schema_ids

    schema_ids.prepare(settings)
    asked = settings.lookups
    limits = Limits(
        per_second=asked.per_second,
        unissued_per_minute=asked.unissued_per_minute,
        timeout=asked.timeout_seconds,
    )
    _run(
        settings,
        "lookup",
        partial(run_lookup, settings.cluster(), settings.providers(), settings.address(), limits),
    )


def settle(settings: Settings) -> None:
    """The process that closes, splits and settles orders, until a signal ends it."""
    from connectors.settle import SettleLimits, run_settle
    from streams import schema_ids

    schema_ids.prepare(settings)
    limits = SettleLimits(
        fast_forward=settings.settle_fast_forward,
        per_second=settings.lookups.per_second,
        timeout=settings.lookups.timeout_seconds,
    )
    _run(
        settings,
        "settle",
        partial(run_settle, settings.cluster(), _order_apis(settings), settings.address(), limits),
    )


def sandbox(settings: Settings) -> None:
    """The simulated providers, until a signal ends it."""
    from connectors.sandbox.server import run_sandbox

    _run(settings, "sandbox", partial(run_sandbox, _sandbox_config(settings)))


def sandbox_environment(settings: Settings, providers: Iterable[str]) -> dict[str, str]:
    """The variables that make the sandbox's simulation stand for these providers."""
    from connectors.sandbox.sites import sandbox_environment

    return sandbox_environment(_sandbox_config(settings), providers)


def rebuild(settings: Settings, target: Cluster) -> Rebuild:
    """The replay of what came in, into topics of another prefix."""
    from streams import schema_ids
    from streams.rebuild import Rebuild
    from streams.work import intervals, rules

    schema_ids.prepare(settings)
    providers = settings.providers()
    return Rebuild(
        settings.cluster(), target, providers, rules(settings, providers), intervals(settings)
    )


def play(settings: Settings, links: int, seed: int, wait_seconds: float) -> PlayResult:
    """Lets the sandbox live a whole play and compares the board with it."""
    from connectors.sandbox.play import play

    token = settings.board.token
    return asyncio.run(
        play(
            settings.edge_url,
            settings.board_url(),
            _sandbox_config(settings).base_url,
            links,
            seed,
            wait_seconds,
            token=token.get_secret_value() if token else None,
        )
    )


def send(
    settings: Settings, provider: str, sending: Sending, tell: Callable[[Reply], None]
) -> None:
    """Posts callbacks as the provider would, and tells what came of each."""
    from connectors.sandbox.send import agree, arranged, send
    from connectors.sandbox.sites import sandbox_of, signing_as_configured

    config = settings.provider_config(provider)
    sandbox = _sandbox_config(settings, {provider: sending.token} if sending.token else {})
    # `send` is for the edge, wherever the sandbox itself calls.
    sandbox = replace(sandbox, callback_url=sending.to)
    ours = None if sending.to else sandbox_of(provider).signed_url(config)

    async def perform() -> None:
        await agree(sandbox, provider, sending.posts)
        await send(
            signing_as_configured(sandbox, provider, config),
            provider,
            arranged(sending.posts, sending.repeat, sending.chance),
            tell,
            delay=sending.delay,
            signed_url=sending.signed_url or ours,
        )

    asyncio.run(perform())


def reach(settings: Settings) -> None:
    """Stops the start where the cluster refuses us. Raises Refused; one that is away is awaited."""
    cluster = settings.cluster()
    if cluster.protocol != "PLAINTEXT":  # which refuses nobody by name
        from connectors.reaching import check

        check(cluster)


def traced(settings: Settings, process: str) -> Callable[[], None]:
    """Begins tracing, if it is configured. Returns what ends it. Raises BadSettings."""
    from connectors import tracing

    if settings.tracing.endpoint is None:
        return lambda: None
    try:
        return tracing.start(process, settings.tracing.endpoint, settings.tracing.ratio)
    except tracing.NotInstalled as error:
        raise BadSettings(str(error)) from error


def _run(settings: Settings, name: str, process: Callable[[], Coroutine[Any, Any, None]]) -> None:
    import uvloop

    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    # Each request outward would be a line, with its URL.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # Each rebalance would be lines that list every partition.
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    end = traced(settings, name)
    try:
        uvloop.run(process())
    finally:
        end()


def _path_tokens(settings: Settings) -> dict[str, SecretStr | None]:
    return {name: settings.provider_config(name).path_token for name in PROVIDERS}


def _order_apis(settings: Settings) -> dict[str, OrderApi]:
    """The providers that settle by order."""
    return {name: api(settings.provider_config(name)) for name, api in ORDER_APIS.items()}


def _sandbox_config(
    settings: Settings, path_tokens: Mapping[str, str] | None = None
) -> SandboxConfig:
    from connectors.process import Address
    from connectors.sandbox.sites import SandboxConfig, load_secrets

    known = {n: t.get_secret_value() for n, t in _path_tokens(settings).items() if t}
    return SandboxConfig(
        address=Address(settings.sandbox.host, settings.sandbox.port),
        data_dir=settings.data_dir,
        edge_url=settings.edge_url,
        secrets=load_secrets(settings.data_dir),
        speed=settings.sandbox.speed,
        path_tokens={**known, **(path_tokens or {})},
        callback_url=settings.sandbox.callback_url,
    )


def _edge_config(settings: Settings) -> EdgeConfig:
    from connectors.receive import EdgeConfig

    return EdgeConfig(
        settings.cluster(),
        settings.providers(),
        _path_tokens(settings),
        settings.address(),
        settings.board.token,
    )


def _board_config(settings: Settings) -> BoardConfig:
    from connectors.board import BoardConfig

    token = settings.board.token
    return BoardConfig(
        cluster=settings.cluster(),
        providers=tuple(PROVIDERS),
        database_url=settings.database(),
        address=settings.address(),
        token=token.get_secret_value() if token else None,
        registry=settings.schema_registry_url is None,
        processes={name: str(url).rstrip("/") for name, url in settings.board.processes.items()},
        apis=settings.providers(),
        answer_seconds=settings.lookups.timeout_seconds,
    )
