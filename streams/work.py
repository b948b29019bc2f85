"""`linkstatus work`: the Faust worker. The stages, their agents, and what watches over them."""

import fcntl
import logging
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import faust
from faust.types import StreamT
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from connectors.clock import micros_now
from connectors.provider import Provider
from schemas import topics
from streams import schema_ids
from streams.agents.join import Join
from streams.agents.normalize import Normalize
from streams.agents.orders import Orders
from streams.agents.polling import Poller
from streams.agents.track import Track
from streams.domain.polling import SECOND, Intervals
from streams.domain.rules import ProviderRules
from streams.engine.app import StageApp
from streams.engine.batch import Batch
from streams.engine.session import StageSpec
from streams.engine.stage import Stage
from streams.engine.watchdog import Watchdog
from streams.settings import Settings

log = logging.getLogger(__name__)

_held: list[IO[str]] = []


def specs(providers: Mapping[str, Provider]) -> dict[str, StageSpec]:
    """The stages: what each reads, and the table it keeps."""
    raw = tuple(topics.callbacks(name).name for name in providers)
    return {
        "normalize": StageSpec(
            "normalize",
            (*raw, topics.LINKS.name, topics.ORDER_UPDATES.name),
            # A registration that came first counts, however long the worker was away.
            first=(topics.LINKS.name,),
        ),
        "join": StageSpec(
            "join", (topics.PAYMENT_EVENTS.name,), topics.PAYMENTS.name, topics.PAYMENTS.codec
        ),
        "track": StageSpec(
            "track", (topics.LINK_EVENTS.name,), topics.LINK_STATUS.name, topics.LINK_STATUS.codec
        ),
        "orders": StageSpec(
            "orders", (topics.ORDER_EVENTS.name,), topics.ORDERS.name, topics.ORDERS.codec
        ),
    }


def rules(settings: Settings, providers: Mapping[str, Provider]) -> dict[str, ProviderRules]:
    """What the rules need to know of each provider, from its class and its settings."""
    return {
        name: ProviderRules(
            order_from=settings.provider_config(name).order_from,
            settlement=provider.settlement,
            polls=provider.polls,
            ends_for_good=provider.ends_for_good,
            can_look_up=provider.can_look_up(),
        )
        for name, provider in providers.items()
    }


def intervals(settings: Settings) -> Intervals:
    """When silent links are looked up again."""
    return Intervals(
        first=int(settings.polling.first_seconds * SECOND),
        longest=int(settings.polling.longest_seconds * SECOND),
    )


def build_app(settings: Settings) -> StageApp:
    """The Faust app with its stages and agents. Raises BadSettings when there is no cluster to talk
    to.
    """
    schema_ids.prepare(settings)
    cluster = settings.cluster()
    providers = settings.providers()
    app = StageApp(
        f"{cluster.prefix}linkstatus",
        broker=f"kafka://{cluster.brokers.replace(',', ';')}",
        web_host=settings.http.host,
        web_port=settings.http.port,
        topic_disable_leader=True,
        datadir=str(settings.data_dir / "faust"),
    )
    instance = instance_name(settings)
    stages = {
        name: app.add_stage(Stage(app, spec, cluster, instance))
        for name, spec in specs(providers).items()
    }
    _register_agents(app, stages, settings, providers)
    app.add_stage_watch(Watchdog(app.stages, cluster, settings.stall_seconds))
    _register_pages(app, stages)
    return app


def _register_agents(
    app: StageApp,
    stages: Mapping[str, Stage],
    settings: Settings,
    providers: Mapping[str, Provider],
) -> None:
    known = rules(settings, providers)
    normalize, join = Normalize(providers), Join()
    track, orders = Track(known, Poller(known, intervals(settings))), Orders(known)

    @app.agent(stages["normalize"].channel, name="normalize")
    async def normalize_agent(batches: StreamT[Batch]) -> None:
        async for batch in batches:
            with batch:
                batch.each(partial(normalize, batch))

    @app.agent(stages["join"].channel, name="join")
    async def join_agent(batches: StreamT[Batch]) -> None:
        async for batch in batches:
            with batch:
                batch.each(partial(join, batch))

    @app.agent(stages["track"].channel, name="track")
    async def track_agent(batches: StreamT[Batch]) -> None:
        async for batch in batches:
            with batch:
                batch.each(partial(track, batch))
                if batch.tick is not None:
                    track.tick(batch, batch.tick)

    @app.agent(stages["orders"].channel, name="orders")
    async def orders_agent(batches: StreamT[Batch]) -> None:
        async for batch in batches:
            with batch:
                batch.each(partial(orders, batch))

    @app.timer(interval=1.0)  # type: ignore[untyped-decorator]
    async def passage_of_time() -> None:
        stages["track"].tick(micros_now())


def _register_pages(app: StageApp, stages: Mapping[str, Stage]) -> None:
    @app.page("/healthz")
    async def healthz(web: Any, request: Any) -> Any:
        return web.text("ok\n")

    @app.page("/readyz")
    async def readyz(web: Any, request: Any) -> Any:
        apart = [name for name, stage in stages.items() if not stage.joined]
        text = f"not joined: {', '.join(apart)}\n" if apart else "ready\n"
        return web.text(text, status=503 if apart else 200)

    @app.page("/metrics")
    async def metrics(web: Any, request: Any) -> Any:
        return web.bytes(generate_latest(), content_type=CONTENT_TYPE_LATEST.split(";")[0])


def instance_name(settings: Settings) -> str:
    """A name that is stable over restarts and unique among running workers: host and a free slot.

    It makes the transactional id, so a restarted worker at once aborts what its predecessor left
    open. The slot is a locked file in the data folder; the lock ends with the process."""
    folder = settings.data_dir / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    for slot in range(1000):
        if _take_slot(folder / f"{slot}.lock"):
            return f"{settings.instance_host()}-{slot}"
    raise RuntimeError(f"no free worker slot in {folder}")


def _take_slot(path: Path) -> bool:
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _held.append(file)
    return True


def run(settings: Settings, end: Callable[[], None] = lambda: None) -> None:
    """Runs the worker until it is told to end, and then `end`. Exits non-zero when it must be
    restarted.
    """
    app = build_app(settings)
    worker = faust.Worker(app, loglevel=settings.log_level, console_port=0, redirect_stdouts=False)
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        end()
        sys.stdout.flush()
        os._exit(int(ended.code or 0) if isinstance(ended.code, int | None) else 1)
