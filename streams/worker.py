"""`linkstatus work`: the Faust worker with its stages, agents, watchdog and probes."""

import asyncio
import fcntl
import gc
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import faust
from mode import Service
from starlette.applications import Starlette

from connectors.clock import micros_now
from connectors.http.server import Address, Readiness, http_server, probes
from connectors.providers.base import Provider
from schemas.codec import Codecs
from streams.agents.stages import agents, stage_spec
from streams.domain.polling import SECOND, Intervals
from streams.domain.rules import ProviderRules
from streams.engine.app import StageApp
from streams.engine.stage import Stage
from streams.engine.watchdog import Watchdog
from streams.settings import Settings

log = logging.getLogger(__name__)

# How many new objects Python waits for before it searches for cycles. A batch makes tens of
# thousands that live until its end: with the default of 700 the searches take a tenth of the CPU.
_GC_OBJECTS = 20_000


def rules(settings: Settings, providers: Mapping[str, Provider]) -> dict[str, ProviderRules]:
    """Return the rules of each provider, from its class and its settings."""
    configs = {name: settings.provider_config(name) for name in providers}
    return {
        name: ProviderRules(
            order_from=configs[name].order_from,
            settlement=provider.settlement,
            polling=provider.polling,
            final_after_end=provider.final_after_end,
            answers_refunds=provider.answers_refunds,
            can_look_up=provider.can_look_up(),
            signs_for_all=provider.signs_for_all and configs[name].path_token is None,
        )
        for name, provider in providers.items()
    }


def intervals(settings: Settings) -> Intervals:
    """Return when silent links are looked up again, when links are forgotten, and how long a close
    waits for its amounts.
    """
    return Intervals(
        first=int(settings.polling.first_seconds * SECOND),
        longest=int(settings.polling.longest_seconds * SECOND),
        forget_after=int(settings.polling.forget_seconds * SECOND),
        details=int(settings.lookups.details_seconds * SECOND),
    )


def build_app(settings: Settings, codecs: Codecs) -> StageApp:
    """Return the Faust app with its stages and agents. Raises BadSettings without a cluster."""
    cluster = settings.cluster()
    providers = settings.existing_providers()
    app = StageApp(
        f"{cluster.prefix}linkstatus",
        broker=f"kafka://{cluster.brokers.replace(',', ';')}",
        topic_disable_leader=True,
        datadir=str(settings.data_dir / "faust"),
    )
    instance = instance_name(settings)
    spec = stage_spec(codecs, providers)
    known_rules = rules(settings, providers)
    start = threading.Barrier(settings.stage_threads)
    for number in range(settings.stage_threads):
        stage = app.add_stage(Stage(app, spec, cluster, instance, number, start))
        handlers = agents(codecs, providers, known_rules, intervals(settings))
        for step, agent in handlers.items():
            app.add_agent(stage, step, agent.handle)
    watchdog = Watchdog(app.stages, cluster, settings.stall_seconds)
    app.add_service(watchdog)
    readiness = [*(stage.why_not_ready for stage in app.stages), watchdog.progress.why_not]
    app.add_service(ProbeServer(settings.address(), readiness))
    _add_timer(app)
    return app


def _add_timer(app: StageApp) -> None:
    @app.timer(interval=1.0)  # type: ignore[untyped-decorator]
    async def tick() -> None:
        for stage in app.stages:
            stage.tick(micros_now())


class ProbeServer(Service):
    """Serves the probes of the worker, with the limits of all our servers."""

    def __init__(self, address: Address, parts: Sequence[Readiness]) -> None:
        super().__init__()

        def readiness() -> str | None:
            return "\n".join(filter(None, (why_not() for why_not in parts))) or None

        self._server = http_server(Starlette(routes=probes(readiness)), address)

    async def on_start(self) -> None:
        self._serving = self.add_future(self._server.serve())

    @property
    def listens(self) -> bool:
        return self._server.started

    async def on_stop(self) -> None:
        # Faust would cancel the server, which would leave its sockets open.
        self._server.should_exit = True
        await asyncio.wait([self._serving])


def instance_name(settings: Settings) -> str:
    """Return a name that survives restarts and that no other running worker has.

    It is part of the transactional id, so a restarted worker at once aborts what it left open. It
    is a locked file in the data folder, with a random id that is written once: workers on one host
    with different folders differ in it. The lock ends with the process. `INSTANCE` replaces host
    and id, for workers without a lasting folder; each needs its own.
    """
    folder = settings.data_dir / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    for slot in range(1000):
        own_id = _take_slot(folder / f"{slot}.lock")
        if own_id is not None:
            return f"{settings.instance or f'{socket.gethostname()}-{own_id}'}-{slot}"
    raise RuntimeError(f"no free worker slot in {folder}")


def _take_slot(path: Path) -> str | None:
    """Lock the file for this process and return the id in it. Return None if another process has
    the lock.
    """
    # A bare descriptor stays open, and the file locked, until the process ends.
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    if own_id := os.read(file, 64):
        return own_id.decode()
    own_id = uuid4().hex[:8].encode()
    os.write(file, own_id)
    return own_id.decode()


def run(settings: Settings, codecs: Codecs, end: Callable[[], None] = lambda: None) -> None:
    """Run the worker until a signal stops it, then call `end`. Exits the process, with a code other
    than 0 if the worker must be restarted.
    """
    app = build_app(settings, codecs)
    gc.freeze()
    gc.set_threshold(_GC_OBJECTS)
    worker = faust.Worker(app, loglevel=settings.log_level, console_port=0, redirect_stdouts=False)
    try:
        worker.execute_from_commandline()
    except SystemExit as exit_:
        end()
        sys.stdout.flush()
        os._exit(int(exit_.code or 0) if isinstance(exit_.code, int | None) else 1)
