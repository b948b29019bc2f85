"""A Faust app whose agents run on stages."""

from collections.abc import Iterable
from typing import Any

import faust
from faust.app.base import BootStrategy
from mode.types import ServiceT

from streams.engine.stage import Stage


class StageBoot(BootStrategy):
    """Starts sensors, web, agents and the stages; none of Faust's consumer, conductor, tables,
    recovery.
    """

    enable_kafka = False

    def server(self) -> Iterable[ServiceT]:
        if not isinstance(self.app, StageApp):
            return super().server()
        return [*super().server(), *self.app.stages, *self.app.watches]


class StageApp(faust.App):
    """`faust.App` on stages. Add them with `add_stage` before the worker starts."""

    BootStrategy = StageBoot

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stages: list[Stage] = []
        self.watches: list[ServiceT] = []

    def add_stage(self, stage: Stage) -> Stage:
        self.stages.append(stage)
        return stage

    def add_stage_watch(self, watch: ServiceT) -> None:
        self.watches.append(watch)

    async def on_stop(self) -> None:
        # All stages end at the same time: one after the other they would take the sum of what each
        # may take when the broker is slow to answer.
        for stage in self.stages:
            stage.end_soon()
        await super().on_stop()

    async def on_started(self) -> None:
        await super().on_started()
        # Channels stay shut until the flow is resumed, which Faust's own consumer would do.
        self.flow_control.resume()
