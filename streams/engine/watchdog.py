"""Ends the worker when a stage stalls. `connectors.kafka.progress` defines what that is."""

from collections.abc import Iterable, Mapping
from functools import partial

from mode import Service
from prometheus_client import Gauge

from connectors.kafka.cluster import Cluster
from connectors.kafka.progress import Partition, Progress, Source, group_positions
from streams.engine.stage import Stage

LAG = Gauge(
    "linkstatus_stage_lag_records",
    "Records not yet committed in the partitions that this worker holds.",
    ["stage"],
)


class Watchdog(Service):
    """Sets the lag metric of each stage, and exits the process with code 1 when one makes no
    progress for `stall_seconds`.
    """

    def __init__(self, stages: Iterable[Stage], cluster: Cluster, stall_seconds: float) -> None:
        super().__init__()
        self._lags: dict[Stage, int] = {}
        sources = [self._source(stage, cluster) for stage in stages]
        self.progress = Progress(cluster, sources, stall_seconds)

    @Service.task
    async def _watch(self) -> None:
        await self.progress.run()

    def _source(self, stage: Stage, cluster: Cluster) -> Source:
        spec = stage.spec
        return Source(
            stage.tag,
            spec.group,
            [cluster.topic(topic) for topic in spec.step_of],
            stage.trouble,
            held=lambda: stage.partitions if stage.joined else None,
            positions=partial(group_positions, cluster, spec.group),
            report=partial(self._report, stage),
        )

    def _report(self, stage: Stage, waiting: Mapping[Partition, int]) -> None:
        self._lags[stage] = sum(waiting.values())
        lag = sum(number for one, number in self._lags.items() if one.spec is stage.spec)
        LAG.labels(stage.spec.name).set(lag)
