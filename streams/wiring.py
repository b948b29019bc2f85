"""The composition root: builds each process's configuration from the settings, and starts it.

Functions import what they need, so that short commands start fast.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from connectors.providers.order_api import OrderApi
from schemas.topics import Topic, all_topics
from streams.environment import BadSettings
from streams.settings import Settings

if TYPE_CHECKING:
    from random import Random

    from connectors.board.board import BoardConfig
    from connectors.kafka.cluster import Cluster
    from connectors.payouts.raw import Payload
    from connectors.providers.payout_api import PayoutApi
    from connectors.receive.member import Member
    from connectors.receive.process import ReceiveConfig
    from connectors.sandbox.config import SandboxConfig
    from connectors.sandbox.play import PlayResult
    from connectors.sandbox.send import Post, Reply
    from schemas.codec import Codecs
    from streams.rebuild.rebuild import Rebuild
    from streams.reconcile import Job, Outcome

# Only our user may read our files: they contain card tokens and secrets.
_PRIVATE = 0o077

Main = Callable[[], Coroutine[Any, Any, None]]


def topics(settings: Settings) -> tuple[Topic[Any], ...]:
    """Return every topic of an installation."""
    return all_topics(settings.provider_names())


def codecs(settings: Settings, process: str = "") -> Codecs:
    """Return the codecs of a process that writes records. Raises BadSettings."""
    from connectors.schema_registry import noted_ids
    from connectors.schema_registry.client import Refused

    # The edge takes callbacks without the registry.
    writer = noted_ids.edge_writer if process in ("receive", "web") else noted_ids.writer
    try:
        return writer(settings.cluster(), settings.schema_registry_url)
    except Refused as error:
        raise BadSettings(f"LINKSTATUS_SCHEMA_REGISTRY_URL: {error}") from error


def reading_codecs(settings: Settings) -> Codecs:
    """Return the codecs of a process that only reads records."""
    from connectors.schema_registry import noted_ids

    return noted_ids.reader(settings.cluster(), settings.schema_registry_url)


def run(name: str, settings: Settings, member: Member | None = None) -> None:
    """Run a process of the pipeline until a signal ends it; `name` is that of its command, `member`
    that of one of several edges.

    If the cluster refuses these credentials the process does not start. If the cluster is away the
    process waits for it. Raises Refused, BadSettings.
    """
    os.umask(_PRIVATE)
    check_access(settings)
    if name == "work":
        from streams.worker import run

        return run(settings, codecs(settings), start_tracing(settings, name))
    _run(name, settings, _main(name, settings, codecs(settings, name), member))


def run_sandbox(settings: Settings) -> None:
    """Run the simulated providers until a signal ends the process."""
    from connectors.sandbox.process import run_sandbox

    os.umask(_PRIVATE)
    _run("sandbox", settings, partial(run_sandbox, _sandbox_config(settings)))


def check_access(settings: Settings) -> None:
    """Raises Refused if the cluster answers that these credentials are wrong."""
    cluster = settings.cluster()
    if cluster.protocol != "PLAINTEXT":  # a PLAINTEXT cluster checks no credentials
        from connectors.kafka.diagnose import check

        check(cluster)


def start_tracing(settings: Settings, process: str) -> Callable[[], None]:
    """Start tracing, if it is configured. Returns a function that ends it. Raises BadSettings."""
    from connectors import tracing

    if settings.tracing.endpoint is None:
        return lambda: None
    try:
        return tracing.start(process, settings.tracing.endpoint, settings.tracing.ratio)
    except tracing.NotInstalled as error:
        raise BadSettings(str(error)) from error


def start_log(settings: Settings) -> None:
    """Write the log of this process to stderr."""
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )


def _run(name: str, settings: Settings, main: Main) -> None:
    import uvloop

    start_log(settings)
    # httpx logs each request with its URL, aiokafka every partition at each rebalance, alembic its
    # plugins.
    for library in ("httpx", "httpx2", "aiokafka", "alembic"):
        logging.getLogger(library).setLevel(logging.WARNING)
    end_tracing = start_tracing(settings, name)
    try:
        uvloop.run(main())
    finally:
        end_tracing()


def _main(name: str, settings: Settings, codecs: Codecs, member: Member | None) -> Main:
    match name:
        case "receive":
            from connectors.receive.process import run_receive

            return partial(run_receive, _receive_config(settings, codecs), member)
        case "board":
            from connectors.board.process import run_board

            return partial(run_board, _board_config(settings, codecs))
        case "web":
            from connectors.web import WebConfig, run_web

            configs = _receive_config(settings, codecs), _board_config(settings, codecs)
            return partial(run_web, WebConfig(*configs))
        case "lookup":
            return _lookup(settings, codecs)
        case "notify":
            return _notify(settings, codecs)
    return _settle(settings, codecs)


def _lookup(settings: Settings, codecs: Codecs) -> Main:
    from connectors.lookup.jobs import LookupLimits
    from connectors.lookup.process import LookupConfig, run_lookup

    limits = LookupLimits(
        per_second=settings.lookups.per_second,
        unissued_per_minute=settings.lookups.unissued_per_minute,
        timeout=settings.lookups.timeout_seconds,
    )
    served = settings.address(), limits, settings.stall_seconds, rates(settings)
    config = LookupConfig(settings.cluster(), codecs, settings.existing_providers(), *served)
    return partial(run_lookup, config)


def _settle(settings: Settings, codecs: Codecs) -> Main:
    from connectors.settle.jobs import SettleLimits
    from connectors.settle.process import SettleConfig, run_settle

    providers = settings.existing_providers().items()
    apis = {name: provider for name, provider in providers if isinstance(provider, OrderApi)}
    limits = SettleLimits(
        fast_forward=settings.settle_fast_forward,
        per_second=settings.lookups.per_second,
        timeout=settings.lookups.timeout_seconds,
    )
    served = settings.address(), limits, settings.stall_seconds, rates(settings)
    config = SettleConfig(settings.cluster(), codecs, apis, *served)
    return partial(run_settle, config)


def _notify(settings: Settings, codecs: Codecs) -> Main:
    from connectors.notify.process import NotifyConfig, run_notify

    cluster, notify = settings.cluster(), settings.notify
    served = settings.address(), notify.limits(), settings.stall_seconds
    return partial(run_notify, NotifyConfig(cluster, codecs, notify.named(), *served))


def rates(settings: Settings) -> dict[str, float]:
    """Return how often a second each account at a provider may be called."""
    return {
        name: settings.provider_config(name).lookups_per_second or settings.lookups.per_second
        for name in settings.provider_names()
    }


def _receive_config(settings: Settings, codecs: Codecs) -> ReceiveConfig:
    from connectors.receive.process import ReceiveConfig

    return ReceiveConfig(
        cluster=settings.cluster(),
        codecs=codecs,
        providers=settings.existing_providers(),
        path_tokens={
            name: settings.provider_config(name).path_token for name in settings.provider_names()
        },
        address=settings.address(),
        token=settings.board.token,
    )


def _board_config(settings: Settings, codecs: Codecs) -> BoardConfig:
    from connectors.board.board import BoardConfig

    return BoardConfig(
        cluster=settings.cluster(),
        codecs=codecs,
        providers=settings.provider_names(),
        database_url=settings.database(),
        address=settings.address(),
        token=settings.board.token,
        registry=settings.schema_registry_url is None,
        processes={name: str(url).rstrip("/") for name, url in settings.board.processes.items()},
        patience=settings.waiting.patience(),
        apis=settings.existing_providers(),
        answer_seconds=settings.lookups.timeout_seconds,
        stall_seconds=settings.stall_seconds,
        event_days=settings.board.event_days,
    )


def _sandbox_config(settings: Settings) -> SandboxConfig:
    from connectors.sandbox.config import SandboxConfig, load_secrets

    connections = settings.known_connections()
    tokens = {name: settings.provider_config(name).path_token for name in connections}
    return SandboxConfig(
        address=settings.sandbox_address(),
        data_dir=settings.data_dir,
        edge_url=settings.edge_url,
        secrets=load_secrets(settings.data_dir, connections),
        connections=connections,
        speed=settings.sandbox.speed,
        path_tokens={name: token.get_secret_value() for name, token in tokens.items() if token},
        callback_url=settings.sandbox.callback_url,
    )


def sandbox_environment(settings: Settings, names: Iterable[str]) -> dict[str, str]:
    """Return the variables that point these connections at the sandbox instead of providers."""
    from connectors.sandbox.config import sandbox_environment

    return sandbox_environment(_sandbox_config(settings), names)


def play(settings: Settings, links: int, seed: int, wait_seconds: float) -> PlayResult:
    """Let the sandbox run a scenario, and compare the board with its result."""
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
    settings: Settings,
    provider: str,
    posts: Sequence[Post],
    report: Callable[[Reply], None],
    *,
    repeat: int = 1,
    random: Random | None = None,
    delay: float = 0.0,
    token: str | None = None,
    to: str | None = None,
    signed_url: str | None = None,
) -> None:
    """Post callbacks as the provider does, and report each reply. `to` names another receiver than
    our edge, `signed_url` the URL that the signature is for, if it differs.
    """
    from connectors.sandbox.config import signing_as_configured
    from connectors.sandbox.send import repeated, send, set_examples

    config = settings.provider_config(provider)
    # `send` posts to the edge, even if the sandbox calls another receiver.
    sandbox = replace(_sandbox_config(settings), callback_url=to)
    if token:
        sandbox = replace(sandbox, path_tokens={provider: token})
    signing = signing_as_configured(sandbox, provider, config)
    signed_url = signed_url or (None if to else sandbox.simulator(provider).signed_url(config))

    async def main() -> None:
        await set_examples(sandbox, provider, posts)
        all_posts = repeated(posts, repeat, random)
        await send(signing, provider, all_posts, report, delay=delay, signed_url=signed_url)

    asyncio.run(main())


def rebuild(settings: Settings, target: Cluster, codecs: Codecs) -> Rebuild:
    """Return a replay of the inputs into topics under another prefix."""
    from streams.rebuild.rebuild import Rebuild
    from streams.worker import intervals, rules

    providers = settings.existing_providers()
    rules_and_intervals = rules(settings, providers), intervals(settings)
    return Rebuild(settings.cluster(), target, codecs, providers, *rules_and_intervals)


def reconcile(
    settings: Settings, job: Job, file: bytes | None, advance: Callable[[int], None]
) -> Outcome:
    """Reconcile a period with a file, or else with what the provider's API lists; call `advance`
    with how many more days it has listed.
    """
    from connectors.payouts.fetch import fetch_days
    from streams import reconcile

    def fetch(days: Sequence[int]) -> Sequence[Payload]:
        own = settings.provider_config(job.name).lookups_per_second
        per_second = own or settings.lookups.per_second
        timeout, api = settings.lookups.timeout_seconds, cast("PayoutApi", job.provider)
        return asyncio.run(fetch_days(job.name, api, days, per_second, timeout, advance))

    payload = None if file is None else reconcile.file_payload(job, file)
    return reconcile.run(job, settings.cluster(), codecs(settings), payload, fetch)
