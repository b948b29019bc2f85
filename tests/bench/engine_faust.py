"""The same job in stock Faust, as in its documentation: topics, agents, tables, one by one.

At least once, with the memory store: its exactly-once and RocksDB are slower still. Rows are kept
as Faust keeps them, as JSON in a changelog of its own; `link-status` is produced besides.
"""

from collections.abc import Callable
from typing import Any

import faust
from faust.types import StreamT

from schemas import topics
from schemas.codec import LINK_STATUS
from streams.agents.stages import TABLES
from tests.bench.child import Child
from tests.bench.job import INPUTS, AnyPartition, FakeBatch, Handler, Record, handlers
from tests.support.codecs import CODECS

_PARTITIONS = 8


def build(child: Child) -> faust.App:
    """Return the app, with an agent for each stage."""
    cluster = child.cluster
    app = faust.App(
        f"{cluster.prefix}faust",
        broker=f"kafka://{cluster.brokers}",
        store="memory://",
        datadir=str(child.folder),
        web_enabled=False,
        topic_partitions=_PARTITIONS,
        topic_replication_factor=1,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
    )

    def topic(*names: str) -> Any:
        full = [cluster.topic(name) for name in names]
        return app.topic(
            *full, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )

    outlets = {one.name: topic(one.name) for one in topics.SHARED}
    for stage, handle in handlers().items():
        inputs = topic(*(one.name for one in INPUTS[stage]))
        _add_agent(app, stage, inputs, handle, outlets, child)

    return app


def _add_agent(
    app: faust.App,
    stage: str,
    inputs: Any,
    handle: Handler,
    outlets: dict[str, Any],
    child: Child,
) -> None:
    kept = stage in TABLES
    table: Any = app.Table(stage, key_type=bytes, partitions=_PARTITIONS) if kept else None
    # A Faust table itself knows the partition of the current record.
    tables = AnyPartition(table)

    async def work(stream: StreamT[bytes]) -> None:
        async for event in stream.events():
            child.record_taken()
            batch = FakeBatch(stage, child.cluster.prefix, tables)
            batch.handle(handle, _record(event.message))
            for (_, key), row in batch.rows.items():
                table[key] = row
                if stage == "track":
                    value = CODECS.encode(LINK_STATUS, row)
                    await outlets[topics.LINK_STATUS.name].send(key=key, value=value)
            for output in batch.outputs:
                await outlets[output.topic].send(
                    key=output.key, value=output.value, headers=output.headers
                )

    make: Callable[..., Any] = app.agent(inputs, name=stage)
    make(work)


def _record(message: Any) -> Record:
    return Record(
        message.topic,
        message.partition,
        message.offset,
        int(message.timestamp * 1000),
        message.key,
        message.value,
        [*(message.headers or ())],
    )


if __name__ == "__main__":
    app = build(Child.here())
    faust.Worker(app, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()
