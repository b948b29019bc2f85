"""Publishing dead letters once more, so that they pass the same way as the first time."""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from confluent_kafka import KafkaException, Producer

from connectors import producing
from connectors.clock import micros_now
from connectors.kafka import Cluster
from connectors.letters import dealt, reading
from connectors.letters.letter import Letter, Wanted
from schemas.codec import REPLAY
from schemas.ids import event_id
from schemas.topics import REPLAYS

PER_SECOND = 50.0
# The longest that a transaction is open: consumers wait for its end.
_TURN_SECONDS = 1.0
_TIMEOUT = 15.0


class NotReplayed(Exception):
    """Not all were published again; the message says how many were, and why no more."""


def chosen(cluster: Cluster, wanted: Wanted, *, again: bool) -> list[Letter]:
    """The wanted ones, or with `again` those too that somebody has replayed: one that fails again
    comes back as another, and to replay both would double them each time. What is set aside is left
    out, unless it is named by its place.

    All of them at once: what dies once more comes back to the topic that is read here.
    """
    found = list(reading.letters(cluster, wanted))
    if again and wanted.places:
        return found
    known = dealt.read(cluster)
    return [one for one in found if known.is_open(one) or (again and not known.mark_of(one))]


def replay(
    cluster: Cluster,
    letters: Iterable[Letter],
    by: str,
    *,
    per_second: float = PER_SECOND,
    done: Callable[[int], None] = lambda _: None,
) -> Counter[str]:
    """Publishes each to the topic it came from, at most so many a second, and says on `replays`
    that `by` did. Returns how many by topic. Raises NotReplayed.
    """
    publishing = _Publishing(cluster, by)
    sent: Counter[str] = Counter()
    turn = max(1, int(per_second * _TURN_SECONDS))
    for some in _turns(letters, turn):
        try:
            publishing.ready()
            began = time.monotonic()
            publishing.publish(some)
        except (KafkaException, _NoOrigin) as error:
            raise NotReplayed(f"{sent.total()} were published again, then: {error}") from error
        sent.update(letter.topic for letter in some)
        done(len(some))
        if len(some) == turn:
            time.sleep(max(0.0, turn / per_second - (time.monotonic() - began)))
    return sent


class _NoOrigin(Exception):
    """A dead letter does not say which topic it came from."""


class _Publishing:
    """Record and note in one transaction: neither is there without the other."""

    def __init__(self, cluster: Cluster, by: str) -> None:
        self._cluster = cluster
        self._by = by
        self._producer = Producer(
            {
                **producing.settings(cluster),
                "transactional.id": f"{cluster.prefix}linkstatus-replay-{uuid.uuid4().hex}",
            }
        )
        self._ready = False

    def ready(self) -> None:
        if not self._ready:
            self._producer.init_transactions(_TIMEOUT)
            self._ready = True

    def publish(self, letters: Iterable[Letter]) -> None:
        self._producer.begin_transaction()
        try:
            for letter in letters:
                self._produce(letter)
            self._producer.commit_transaction(_TIMEOUT)
        except BaseException:
            self._producer.abort_transaction(_TIMEOUT)
            raise

    def _produce(self, letter: Letter) -> None:
        if not letter.topic:
            raise _NoOrigin(f"dead letter {letter.place} does not say which topic it came from")
        now = micros_now()
        replay_id = event_id("replay", self._cluster.prefix, letter.name, now)
        note = REPLAY.encode(
            {
                "event_id": replay_id,
                "letter": letter.name,
                "to": letter.topic,
                "reason": letter.reason,
                "by": self._by,
                # Never before the letter, which has its time by another clock.
                "at": max(now, letter.at),
            }
        )
        self._producer.produce(
            self._cluster.topic(letter.topic),
            letter.body,
            letter.key,
            headers=list(letter.again(replay_id)),
        )
        self._producer.produce(
            self._cluster.topic(REPLAYS.name),
            note,
            str(letter.place).encode(),
            headers=[("event-id", replay_id.encode())],
        )
        self._producer.poll(0)


def _turns(letters: Iterable[Letter], size: int) -> Iterator[list[Letter]]:
    each = iter(letters)
    while some := list(islice(each, size)):
        yield some
