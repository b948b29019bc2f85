"""The status line of `linkstatus up`: totals from the board's store and from metrics."""

import logging
from collections import Counter
from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

from connectors.board.database import links
from connectors.board.database import tables as t
from connectors.board.database.paging import count
from connectors.board.database.store import Store, StoreUnavailable

log = logging.getLogger(__name__)
_ORDER = ("CREATED", "OPENED", "PROCESSING", "PAID", "FAILED", "CANCELLED", "EXPIRED", "UNKNOWN")


class StatusReader:
    """Reads readiness and totals of the running processes."""

    def __init__(self, database_url: str, web_url: str, work_url: str) -> None:
        self._database_url = database_url
        self._web = f"{web_url}/metrics"
        self._work = f"{work_url}/metrics"
        self._store: Store | None = None
        self._client = httpx.Client(timeout=1.0, trust_env=False)
        self._last = "callbacks 0 since this start"

    def line(self) -> str:
        """The callbacks that this run's edge acknowledged, the totals since the first start, and
        the lag; the last known ones while a source does not answer.
        """
        try:
            self._last = self._read()
        except (StoreUnavailable, httpx.HTTPError) as error:
            log.debug("no totals now: %s", error)
        return self._last

    def ready(self, url: str) -> bool:
        """Whether the process with probes at `url` is ready, and the board, if it runs it."""
        paths = ("/readyz", "/readyz/board") if self._web.startswith(f"{url}/") else ("/readyz",)
        try:
            return all(self._client.get(url + path).status_code == 200 for path in paths)
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        self._client.close()
        if self._store:
            self._store.close()

    def _read(self) -> str:
        acknowledged = self._metric(self._web, "linkstatus_callbacks_total", {"answer": "200"})
        lag = self._metric(self._work, "linkstatus_stage_lag_records", {})
        self._store = store = self._store or Store(self._database_url, upgrade=False)
        number: Counter[str] = Counter()
        for statuses in links.counts(store).values():
            number.update(statuses)
        by_status = ", ".join(f"{name} {number[name]}" for name in _ORDER if number[name])
        parts = (
            f"callbacks {acknowledged} since this start",
            f"links {number.total()}" + (f" ({by_status})" if by_status else ""),
            f"closes {count(store, t.order_close)}",
            f"anomalies {count(store, t.anomalies)}",
            f"dead letters {count(store, t.dead_letters)}",
            f"lag {lag}",
        )
        return " · ".join(parts)

    def _metric(self, url: str, name: str, labels: Mapping[str, str]) -> int:
        """The sum of a metric's samples with these labels."""
        families = text_string_to_metric_families(self._client.get(url).text)
        samples = (sample for family in families for sample in family.samples)
        values = (s.value for s in samples if s.name == name and labels.items() <= s.labels.items())
        return int(sum(values))
