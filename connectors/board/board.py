"""The opened board: its store, what fills it, and what pages and API need."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Semaphore

import uvicorn
from pydantic import SecretStr

from connectors.board.cancellations import Cancellations
from connectors.board.database.store import Store
from connectors.board.database.waiting import PATIENCE, Party
from connectors.board.feed.live_events import Hub
from connectors.board.feed.materializer import Materializer
from connectors.board.feed.raw_records import RawRecords
from connectors.board.feed.retention import forget_old_events
from connectors.board.lookups import Lookups, publisher
from connectors.board.overview.overview import Overview
from connectors.board.overview.process_health import HealthMonitor
from connectors.board.replays import Replays
from connectors.http.access import Access
from connectors.http.server import Address
from connectors.kafka.cluster import Cluster
from connectors.kafka.progress import Progress
from connectors.providers.base import Provider
from connectors.triage import audit
from schemas.codec import Codecs
from schemas.limits import EXPORTS, STALL_SECONDS
from schemas.records import Notice

_STOP_CHECK_SECONDS = 0.1
# A person waits for the page.
_CANCEL_NOTICE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class BoardConfig:
    """What the board needs. `database_url` is SQLAlchemy's; `token` allows actions, and opens the
    board off loopback; `processes` are the addresses of the processes whose health it shows.
    """

    cluster: Cluster
    codecs: Codecs
    providers: tuple[str, ...]
    database_url: str
    address: Address
    token: SecretStr | None = None
    # Whether `/registry` names subjects: an external registry has its own.
    registry: bool = True
    processes: Mapping[str, str] = field(default_factory=dict)
    # By the connection's name; and how long the cancellation of a link may take.
    apis: Mapping[str, Provider] = field(default_factory=dict)
    answer_seconds: float = 10.0
    stall_seconds: float = STALL_SECONDS
    # How many seconds an order may wait for someone.
    patience: Mapping[Party, float] = field(default_factory=lambda: PATIENCE)
    # How long the database keeps events; None: for ever.
    event_days: int | None = None


class Board:
    """An opened board: serve `routes(board)`; run `follow` and `end_streams` as services.

    Raises TokenNeeded, StoreUnavailable.
    """

    def __init__(self, config: BoardConfig) -> None:
        self.config = config
        self.access = Access(config.address.host, config.token)
        self.access.require_token()
        self.providers = config.providers
        self.store = Store(config.database_url)
        self.hub = Hub()
        self.materializer = Materializer(config.cluster, config.codecs, self.store, self.hub)
        sources = [self.materializer.source()]
        self.progress = Progress(config.cluster, sources, config.stall_seconds)
        self.monitor = HealthMonitor(config.processes)
        kinds = {name: api.kind for name, api in config.apis.items()}
        self.overview = Overview(
            *(self.store, config.providers, kinds, self.monitor, self.why_not), config.patience
        )
        self.raw = RawRecords(config.cluster, config.codecs)
        self.replays = Replays(config.cluster, config.codecs)
        self.cancellations = Cancellations(
            config.apis,
            config.answer_seconds,
            lambda notice: self.publish([notice], _CANCEL_NOTICE_SECONDS),
        )
        self.export_slots = Semaphore(EXPORTS)
        self.lookups = Lookups(config.apis, publisher(config.cluster, config.codecs))

    async def follow(self, end_process: bool = True) -> None:
        """Keep the store up to date and check the processes, forever. At a stall end the process,
        or raise Stalled.
        """
        services = (
            *(self.materializer.run(), self.monitor.run(), self.progress.run(end_process)),
            self.overview.watch(),
            forget_old_events(self.store, self.config.event_days),
        )
        tasks = [asyncio.ensure_future(service) for service in services]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.store.close()

    def why_not(self) -> str | None:
        """Why the board is not up to date, or None."""
        return self.progress.why_not() or self.materializer.why_not()

    def publish(self, notices: Iterable[Notice], *seconds: float) -> None:
        """Publish what people did. Blocking. Raises NotAcknowledged, KafkaException."""
        audit.publish(self.config.cluster, self.config.codecs, notices, *seconds)

    async def end_streams(self, server: uvicorn.Server) -> None:
        """End the live streams when `server` stops: it would wait for them."""
        while not server.should_exit:
            await asyncio.sleep(_STOP_CHECK_SECONDS)
        self.hub.close()
