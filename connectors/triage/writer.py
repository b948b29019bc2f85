"""Dead-letter the record of a task."""

import logging
from collections.abc import Mapping

from connectors.kafka.publisher import Publishes, RecordRefused, publish_until_acked
from connectors.kafka.task import Task
from connectors.reasons import reason_of
from connectors.triage import fitting
from connectors.triage.metrics import DEAD_LETTERED, LOST
from schemas.headers import pairs
from schemas.topics import DEAD_LETTERS

log = logging.getLogger(__name__)


async def dead_letter(
    publisher: Publishes,
    topic: str,
    task: Task,
    stage: str,
    error: Exception,
    more: Mapping[str, bytes] | None = None,
) -> None:
    """Publish a record that no rule accepts to the dead letters, with its origin and the reason,
    and count it. `topic` is the record's, without the installation's prefix; `more` are headers
    that it gets.

    A record that the cluster refuses even there is logged and counted, and the next one follows.
    """
    if not task.live:  # the partition moved: its new owner dead-letters the record
        return
    record = task.record
    why = reason_of(error)
    origin = f"{topic}/{record.partition}/{record.offset}"
    more = more or {}
    # The first headers are never cut.
    received = [*more.items(), *(one for one in pairs(record.headers) if one[0] not in more)]
    key, value, headers = fitting.dead_letter(
        record.key, record.value, received, stage, why, origin
    )
    try:
        # aiokafka refuses a record that has neither key nor value.
        await publish_until_acked(
            publisher, DEAD_LETTERS.name, key, value if key else value or b"", headers
        )
    except RecordRefused as refusal:
        LOST.labels(stage).inc()
        log.error("%s: no dead letter of %s (%s): %s", stage, origin, why, refusal)
    DEAD_LETTERED.labels(stage, type(error).__name__).inc()
