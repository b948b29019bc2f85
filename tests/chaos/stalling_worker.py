"""A worker whose agent never finishes a batch, as a process: BROKERS, PREFIX, FOLDER, SECONDS."""

import asyncio
import sys

import faust
from confluent_kafka import Message
from faust.types import StreamT

from connectors.kafka.cluster import Cluster
from streams.engine.app import StageApp
from streams.engine.batch import Batch
from streams.engine.spec import StageSpec, Step
from streams.engine.stage import Stage
from streams.engine.watchdog import Watchdog


def drop(batch: Batch, message: Message, step: str, error: Exception) -> None:
    """Send no dead letter."""


def main(brokers: str, prefix: str, folder: str, seconds: str) -> None:
    cluster = Cluster(brokers, prefix)
    app = StageApp(
        f"{prefix}stalling",
        broker=f"kafka://{brokers}",
        topic_disable_leader=True,
        datadir=folder,
    )
    spec = StageSpec("stalling", (Step("stall", ("links",)),), drop)
    stage = app.add_stage(Stage(app, spec, cluster, "w0"))
    app.add_service(Watchdog(app.stages, cluster, float(seconds)))

    @app.agent(stage.channels["stall"], name="stalling")
    async def stalling(batches: StreamT[Batch]) -> None:
        async for batch in batches:
            if any(message.value() == b"stall" for message in batch.messages):
                await asyncio.Event().wait()
            with batch:
                pass

    faust.Worker(app, loglevel="INFO", console_port=0).execute_from_commandline()


if __name__ == "__main__":
    main(*sys.argv[1:])
