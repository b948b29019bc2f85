"""Ours: `linkstatus work`, as it is. All that is added tells when the first record came."""

from typing import Any

from streams import settings, work
from streams.engine.session import Session
from tests.bench.child import Told
from tests.bench.job import INPUTS, TABLES, providers


def main() -> None:
    told = Told.here()
    take = Session.take

    def take_and_tell(session: Session, wait: float) -> Any:
        messages = take(session, wait)
        if messages:
            told.took()
        return messages

    setattr(Session, "take", take_and_tell)  # noqa: B010 (mypy minds the plain way)
    _same_job()
    work.run(settings.load())


def _same_job() -> None:
    """The others' stages are those of the worker, or nothing here could be compared."""
    for name, spec in work.specs(providers()).items():
        table = TABLES[name].name if name in TABLES else None
        if spec.inputs != tuple(topic.name for topic in INPUTS[name]) or spec.table != table:
            raise SystemExit(f"tests/bench/job.py does not know the stage {name} as it is")


if __name__ == "__main__":
    main()
