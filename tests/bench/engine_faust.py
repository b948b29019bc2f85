"""The same job in stock Faust, as its documentation has it: topics, agents, tables; one by one.

At least once, with the memory store: its exactly-once and RocksDB are slower still. Rows are kept
as Faust keeps them, as JSON in a changelog of its own; `link-status` is produced besides.
"""

from collections.abc import Callable
from typing import Any

import faust
from faust.types import StreamT

from schemas import topics
from tests.bench.child import Told
from tests.bench.job import INPUTS, TABLES, Hand, Handler, Taken, handlers

_PARTITIONS = 8


def build(told: Told) -> faust.App:
    """The app with an agent for each stage."""
    cluster = told.cluster
    app = faust.App(
        f"{cluster.prefix}faust",
        broker=f"kafka://{cluster.brokers}",
        store="memory://",
        datadir=str(told.folder),
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
        _add_agent(app, stage, inputs, handle, outlets, told)

    return app


def _add_agent(
    app: faust.App,
    stage: str,
    inputs: Any,
    handle: Handler,
    outlets: dict[str, Any],
    told: Told,
) -> None:
    table: Any = app.Table(stage, key_type=bytes, partitions=_PARTITIONS) if _kept(stage) else None
    tables = _Same(table)

    async def work(stream: StreamT[bytes]) -> None:
        async for event in stream.events():
            told.took()
            hand = Hand(stage, told.cluster.prefix, tables)
            hand.do(handle, _taken(event.message))
            for (_, key), row in hand.rows.items():
                table[key] = row
                if stage == "track":
                    value = topics.LINK_STATUS.codec.encode(row)  # type: ignore[union-attr]
                    await outlets[topics.LINK_STATUS.name].send(key=key, value=value)
            for output in hand.outputs:
                await outlets[output.topic].send(
                    key=output.key, value=output.value, headers=output.headers
                )

    make: Callable[..., Any] = app.agent(inputs, name=stage)
    make(work)


def _kept(stage: str) -> bool:
    return stage in TABLES


class _Same(dict[int, Any]):
    """A Faust table knows by itself which partition the record in hand is of."""

    def __init__(self, table: Any) -> None:
        super().__init__()
        self.table = table

    def __missing__(self, number: int) -> Any:
        return self.table


def _taken(message: Any) -> Taken:
    return Taken(
        message.topic,
        message.partition,
        message.offset,
        int(message.timestamp * 1000),
        message.key,
        message.value,
        [*(message.headers or ())],
    )


if __name__ == "__main__":
    app = build(Told.here())
    faust.Worker(app, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()
