"""Publishing what a process owes for a record before it may commit that record."""

import asyncio
import logging

from connectors.intake import Taken
from connectors.letters.counted import DEAD
from connectors.letters.letter import added
from connectors.publish import Headers, Publishes, Unavailable
from schemas.codec import BadRecord
from schemas.topics import DEAD_LETTERS

log = logging.getLogger(__name__)


async def insist(
    publisher: Publishes, topic: str, key: bytes | None, value: bytes | None, headers: Headers
) -> None:
    """Publishes however long Kafka takes to be there: for work whose input is only committed
    afterwards.
    """
    while True:
        try:
            return await publisher.publish(topic, key, value, headers)
        except Unavailable as error:
            log.warning("%s: trying again: %s", topic, error)
            await asyncio.sleep(1.0)


async def dead_letter(
    publisher: Publishes, topic: str, taken: Taken, stage: str, error: Exception
) -> None:
    """Publishes a record nobody can use to the dead letters, as received, with where it came from
    and why, and counts it. `topic` is the record's, without the installation's prefix.
    """
    if not taken.live:  # while somebody was asked: whoever has the partition now finds the same
        return
    record = taken.record
    # A bad record says in words what is wrong with it; of other errors the kind says the most.
    reason = str(error) if isinstance(error, BadRecord) else repr(error)
    origin = f"{topic}/{record.partition}/{record.offset}"
    headers = [*record.headers, *added(stage, reason, origin)]
    # aiokafka refuses a record that has neither key nor value.
    value = record.value if record.key else record.value or b""
    await insist(publisher, DEAD_LETTERS.name, record.key, value, headers)
    DEAD.labels(stage, type(error).__name__).inc()
