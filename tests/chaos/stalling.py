"""A worker whose agent never finishes a batch, as a process: BROKERS, PREFIX, FOLDER, SECONDS."""

import asyncio
import sys

import faust
from faust.types import StreamT

from connectors.kafka import Cluster
from streams.engine.app import StageApp
from streams.engine.batch import Batch
from streams.engine.session import StageSpec
from streams.engine.stage import Stage
from streams.engine.watchdog import Watchdog


def main(brokers: str, prefix: str, folder: str, seconds: str) -> None:
    cluster = Cluster(brokers, prefix)
    app = StageApp(
        f"{prefix}stalling",
        broker=f"kafka://{brokers}",
        web_enabled=False,
        topic_disable_leader=True,
        datadir=folder,
    )
    stage = app.add_stage(Stage(app, StageSpec("stalling", ("links",)), cluster, "w0"))
    app.add_stage_watch(Watchdog(app.stages, cluster, float(seconds)))

    @app.agent(stage.channel, name="stalling")
    async def stalling(batches: StreamT[Batch]) -> None:
        async for batch in batches:
            if any(message.value() == b"stall" for message in batch.messages):
                await asyncio.Event().wait()
            with batch:
                batch.each(lambda message: None)

    faust.Worker(app, loglevel="INFO", console_port=0).execute_from_commandline()


if __name__ == "__main__":
    main(*sys.argv[1:])
