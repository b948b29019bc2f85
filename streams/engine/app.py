"""A Faust app whose agents run on stages."""

from collections.abc import Callable, Iterable
from typing import Any

import faust
from faust.app.base import BootStrategy
from faust.types import StreamT
from mode.types import ServiceT

from streams.engine.batch import Batch
from streams.engine.stage import Stage


class StageBoot(BootStrategy):
    """Starts sensors, agents and stages, but not Faust's consumer, conductor, tables or web server:
    that one limits neither connections nor times.
    """

    enable_kafka = False
    enable_web = False

    def server(self) -> Iterable[ServiceT]:
        if not isinstance(self.app, StageApp):
            return super().server()
        return [*super().server(), *self.app.stages, *self.app.services]


class StageApp(faust.App):
    """A `faust.App` that runs stages. Add them with `add_stage` before the worker starts."""

    BootStrategy = StageBoot

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stages: list[Stage] = []
        self.services: list[ServiceT] = []

    def add_stage(self, stage: Stage) -> Stage:
        self.stages.append(stage)
        return stage

    def add_service(self, service: ServiceT) -> None:
        """Run the service beside the stages: it starts after them."""
        self.services.append(service)

    def add_agent(self, stage: Stage, step: str, handle: Callable[[Batch], None]) -> None:
        """Register the agent of a step: it handles each batch of the stage."""

        @self.agent(stage.channels[step], name=f"{stage.tag}.{step}")
        async def handle_batches(batches: StreamT[Batch]) -> None:
            async for batch in batches:
                with batch:
                    handle(batch)

    async def on_stop(self) -> None:
        # All stages end at the same time. One after another, their waits for a slow broker would
        # add up.
        for stage in self.stages:
            stage.end_soon()
        await super().on_stop()

    async def on_started(self) -> None:
        await super().on_started()
        # Channels stay blocked until flow control resumes. Faust's own consumer would do that.
        self.flow_control.resume()
