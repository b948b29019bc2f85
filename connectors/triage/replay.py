"""Publish dead letters again, so that the agents process them as they did the first time."""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaException, Producer

from connectors.clock import micros_now
from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.reasons import reason_of
from connectors.triage import reader, resolution
from connectors.triage.dead_letter import DeadLetter
from connectors.triage.filter import Filter
from schemas.cloud_events import event_headers
from schemas.codec import REPLAY, Codecs
from schemas.ids import event_id
from schemas.records import Replay
from schemas.topics import REPLAYS

PER_SECOND = 50.0
# The longest that a transaction is open: consumers wait for its end.
_BATCH_SECONDS = 1.0
_TIMEOUT = 15.0


class ReplayFailed(Exception):
    """Some were not published; the message says how many were, and why the rest was not."""


def select(cluster: Cluster, codecs: Codecs, where: Filter, *, again: bool) -> list[DeadLetter]:
    """The matching dead letters that are open, with `again` the replayed ones too. A replay that
    fails comes back as a new dead letter, so replaying both would double them each time. Resolved
    dead letters are left out, unless the filter names their places.

    A list, because a record that fails again comes back to the topic that is read here.
    """
    dead_letters = list(reader.dead_letters(cluster, where))
    if again and where.places:
        return dead_letters
    known = resolution.read(cluster, codecs)
    return [one for one in dead_letters if known.is_open(one) or (again and not known.mark_of(one))]


def replay(
    cluster: Cluster,
    codecs: Codecs,
    dead_letters: Sequence[DeadLetter],
    by: str,
    *,
    per_second: float = PER_SECOND,
    advance: Callable[[int], None] = lambda _: None,
) -> Counter[str]:
    """Publish each to its target, at most `per_second` a second, and record on
    `replays` that `by` did. Returns their number by topic. Raises ReplayFailed.
    """
    publisher = None
    sent: Counter[str] = Counter()
    size = max(1, int(per_second * _BATCH_SECONDS))
    for first in range(0, len(dead_letters), size):
        batch = dead_letters[first : first + size]
        try:
            publisher = publisher or _Publisher(cluster, codecs, by)
            started = time.monotonic()
            publisher.publish(batch)
        except (KafkaException, _NoOrigin) as error:
            raise ReplayFailed(
                f"{sent.total()} were published again, then: {reason_of(error)}"
            ) from error
        sent.update(one.target for one in batch)
        advance(len(batch))
        if len(batch) == size:
            time.sleep(max(0.0, size / per_second - (time.monotonic() - started)))
    return sent


class _NoOrigin(Exception):
    """A dead letter has no header that names the topic it came from."""


class _Publisher:
    """Publishes each record and its replay note in one transaction: both arrive, or neither."""

    def __init__(self, cluster: Cluster, codecs: Codecs, by: str) -> None:
        self._cluster = cluster
        self._codecs = codecs
        self._by = by
        self._producer = Producer(
            {
                **sync_producer.settings(cluster),
                "transactional.id": f"{cluster.prefix}linkstatus-replay-{uuid.uuid4().hex}",
            }
        )
        self._producer.init_transactions(_TIMEOUT)

    def publish(self, dead_letters: Sequence[DeadLetter]) -> None:
        self._producer.begin_transaction()
        try:
            for dead_letter in dead_letters:
                self._produce(dead_letter)
            self._producer.commit_transaction(_TIMEOUT)
        except BaseException:
            self._producer.abort_transaction(_TIMEOUT)
            raise

    def _produce(self, dead_letter: DeadLetter) -> None:
        if not dead_letter.target:
            raise _NoOrigin(f"dead letter {dead_letter.place} does not name the topic it came from")
        now = micros_now()
        replay_id = event_id("replay", self._cluster.prefix, dead_letter.place.name, now)
        record: Replay = {
            "event_id": replay_id,
            "dead_letter": dead_letter.place.name,
            "target": dead_letter.target,
            "reason": dead_letter.reason,
            "by": self._by,
            # Kafka dates the dead letter by another clock. An older replay would not apply to it.
            "at": max(now, dead_letter.at),
        }
        key, note = str(dead_letter.place).encode(), self._codecs.encode(REPLAY, record)
        self._producer.produce(
            self._cluster.topic(dead_letter.target),
            dead_letter.body,
            dead_letter.key,
            headers=list(dead_letter.replay_headers(replay_id)),
        )
        self._producer.produce(
            self._cluster.topic(REPLAYS.name),
            note,
            key,
            headers=list(event_headers(REPLAY, key, record)),
        )
        self._producer.poll(0)
