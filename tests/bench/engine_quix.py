"""The same job on Quix Streams: exactly once, its own RocksDB state. Runs in .venv-bench.

One Application with a StreamingDataFrame for each input topic. Rows live in Quix's state as the
JSON that it keeps natively, cheaper for it than our Avro; `link-status` is produced besides.
"""

import os
from collections.abc import Callable
from typing import Any

from quixstreams import Application, message_context
from quixstreams.models import Serializer

from schemas import topics
from schemas.codec import LINK_STATUS
from streams.agents.stages import TABLES
from streams.engine.batch import Output
from tests.bench.child import Child
from tests.bench.job import INPUTS, FakeBatch, Handler, Record, handlers
from tests.support.codecs import CODECS

# The fastest of 0.1, 0.25, 0.5, 1 and 2 s for this job; its default is 5 s.
_COMMIT_SECONDS = float(os.environ.get("BENCH_QUIX_COMMIT", "0.5"))


class _Value(Serializer):  # type: ignore[misc]
    """Outputs carry their bytes."""

    def __call__(self, value: Output, ctx: Any) -> bytes | None:
        return value.value


class _State:
    """The row of the record's key, as handlers read it."""

    def __init__(self) -> None:
        self.state: Any = None

    def get(self, _: bytes) -> Any:
        return self.state.get("row")


class _AnyPartition(dict[int, _State]):
    """Quix gives the state of the partition and key of the current record."""

    def __missing__(self, number: int) -> _State:
        state = self[number] = _State()
        return state


def _step(
    stage: str, handle: Handler, child: Child
) -> tuple[Callable[..., list[Output]], Callable[..., list[Output]]]:
    """The stage as Quix calls it, without and with state."""
    tables = _AnyPartition()
    table = TABLES.get(stage)

    def step(value: bytes, key: Any, timestamp: int, headers: Any) -> list[Output]:
        child.record_taken()
        at = message_context()
        batch = FakeBatch(stage, child.cluster.prefix, tables)
        record = Record(
            at.topic, at.partition, at.offset, timestamp, key, value, [*(headers or ())]
        )
        batch.handle(handle, record)
        for (number, row_key), row in batch.rows.items():
            tables[number].state.set("row", row)
            if table is topics.LINK_STATUS:
                batch.send(table.name, row_key, CODECS.encode(LINK_STATUS, row))
        return batch.outputs

    def stateful(value: bytes, key: Any, timestamp: int, headers: Any, state: Any) -> list[Output]:
        tables[message_context().partition].state = state
        return step(value, key, timestamp, headers)

    return step, stateful


def main() -> None:
    child = Child.here()
    cluster = child.cluster
    app = Application(
        cluster.brokers,
        consumer_group=f"{cluster.prefix}quix",
        processing_guarantee="exactly-once",
        auto_offset_reset="earliest",
        commit_interval=_COMMIT_SECONDS,
        state_dir=child.folder / "state",
        auto_create_topics=True,
        consumer_poll_timeout=0.1,
        # By default each request at an assignment waits for an idle fetch: 0.5 s per partition.
        consumer_extra_config={"fetch.wait.max.ms": 20, "fetch.queue.backoff.ms": 10},
        producer_extra_config={"retry.backoff.ms": 1, "retry.backoff.max.ms": 100, "linger.ms": 5},
        loglevel=os.environ.get("BENCH_QUIX_LOG", "WARNING"),
    )
    formats = {
        "key_deserializer": "bytes",
        "value_deserializer": "bytes",
        "key_serializer": "bytes",
    }
    known = {
        name: app.topic(cluster.topic(name), value_serializer=_Value(), **formats)
        for name in _names()
    }
    for stage, handle in handlers().items():
        step, stateful = _step(stage, handle, child)
        with_state = stage in TABLES
        for topic in INPUTS[stage]:
            frame = app.dataframe(known[topic.name]).apply(
                stateful if with_state else step, stateful=with_state, expand=True, metadata=True
            )
            frame = frame.set_headers(lambda value, *_: value.headers or [])
            frame.to_topic(lambda value, *_: known[value.topic], key=lambda value: value.key)
    app.run()


def _names() -> list[str]:
    inputs = [topic.name for ins in INPUTS.values() for topic in ins]
    return sorted({*inputs, *(topic.name for topic in topics.SHARED)})


if __name__ == "__main__":
    main()
