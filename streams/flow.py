"""What flows through a running system, in one line: from the board's store and from metrics."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select

from connectors.board import queries
from connectors.board import tables as t
from connectors.board.store import Store, StoreUnavailable

log = logging.getLogger(__name__)
_ORDER = ("CREATED", "OPENED", "PROCESSING", "PAID", "FAILED", "CANCELLED", "EXPIRED", "UNKNOWN")


@dataclass(frozen=True, slots=True)
class Flow:
    """Totals since the first start, but for `callbacks`: those this run's edge acknowledged."""

    callbacks: int = 0
    links: Mapping[str, int] = field(default_factory=dict)
    closes: int = 0
    anomalies: int = 0
    dead_letters: int = 0
    lag: int = 0

    def __str__(self) -> str:
        links = [f"{status} {self.links[status]}" for status in _ORDER if self.links.get(status)]
        parts = [
            f"callbacks {self.callbacks}",
            f"links {sum(self.links.values())}" + (f" ({', '.join(links)})" if links else ""),
            f"closes {self.closes}",
            f"anomalies {self.anomalies}",
            f"dead letters {self.dead_letters}",
            f"lag {self.lag}",
        ]
        return " · ".join(parts)


class Gauge:
    """Reads the flow; what cannot be read now counts as before or as nothing."""

    def __init__(self, database_url: str, web_port: int, work_port: int) -> None:
        self._database_url = database_url
        self._web = f"http://127.0.0.1:{web_port}/metrics"
        self._work = f"http://127.0.0.1:{work_port}/metrics"
        self._store: Store | None = None
        self._client = httpx.Client(timeout=1.0, trust_env=False)
        self._last = Flow()

    def read(self) -> Flow:
        try:
            self._last = self._read()
        except (StoreUnavailable, httpx.HTTPError) as error:
            log.debug("no figures now: %s", error)
        return self._last

    def ready(self, port: int) -> bool:
        """Whether the process with probes on `port` says it can do its job."""
        try:
            return self._client.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        self._client.close()
        if self._store:
            self._store.close()

    def _read(self) -> Flow:
        answered = self._metric(self._web, "linkstatus_callbacks_total", {"answer": "200"})
        lag = self._metric(self._work, "linkstatus_stage_lag_records", {})
        self._store = self._store or Store(self._database_url, upgrade=False)
        by_status: Counter[str] = Counter()
        for statuses in queries.counts(self._store).values():
            by_status.update(statuses)
        totals = queries.totals(self._store)
        with self._store.reading() as connection:
            closes = connection.scalar(select(func.count()).select_from(t.order_close)) or 0
        return Flow(
            callbacks=answered,
            links=by_status,
            closes=closes,
            anomalies=totals["anomalies"],
            dead_letters=totals["dead_letters"],
            lag=lag,
        )

    def _metric(self, url: str, name: str, labels: Mapping[str, str]) -> int:
        """The sum of a metric's samples that carry these labels."""
        families = text_string_to_metric_families(self._client.get(url).text)
        return int(
            sum(
                sample.value
                for family in families
                for sample in family.samples
                if sample.name == name and labels.items() <= sample.labels.items()
            )
        )
