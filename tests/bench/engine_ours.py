"""Ours: `linkstatus work`, which also reports its first record and its ticks."""

import time
from typing import Any

from streams import settings, worker
from streams.agents.track import Track
from streams.engine.batch import Batch
from streams.engine.session import Session
from tests.bench.child import Child
from tests.support.codecs import CODECS


def main() -> None:
    child = Child.here()
    consume, on_tick = Session.consume, Track.on_tick

    def consume_and_report(session: Session, seconds: float) -> Any:
        messages = consume(session, seconds)
        if messages:
            child.record_taken()
        return messages

    def tick_and_report(agent: Track, batch: Batch, now: int) -> None:
        before = time.thread_time()
        on_tick(agent, batch, now)
        child.tick_took(time.thread_time() - before)

    setattr(Track, "on_tick", tick_and_report)  # noqa: B010 (as below)
    setattr(Session, "consume", consume_and_report)  # noqa: B010 (mypy rejects an assignment)
    worker.run(settings.load(), CODECS)


if __name__ == "__main__":
    main()
