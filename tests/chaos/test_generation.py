"""A worker that loses its generation, because it is suspended for longer than its session."""

import signal
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Producer

from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.providers import raw
from connectors.providers.registry import PROVIDERS
from schemas.topics import (
    LINK_EVENTS,
    LINK_STATUS,
    ORDER_CLOSE,
    SETTLEMENT,
    all_topics,
    message_key,
)
from streams.admin import topics
from tests.support.processes import PORT, environment, is_ready, running
from tests.support.reading import values
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.long]


def send_callbacks(cluster: Cluster, links: Iterable[int]) -> None:
    """Publish verified callbacks as the edge does. Each pays another link."""
    producer = Producer(sync_producer.settings(cluster))
    for number in links:
        headers = raw.headers("peach", "callback", True, "application/json")
        body = b'{"status": "completed", "paymentId": "link-%d"}' % number
        key = message_key("peach", f"link-{number}")
        producer.produce(cluster.topic("callbacks.peach"), body, key, headers=[*headers])
        time.sleep(0.002)
    assert producer.flush(30) == 0


# Below, about and above the session (6 s), and above the transaction's time-out (10 s).
_SUSPENSIONS = (0.5, 4.0, 6.0, 7.0, 8.0, 13.0)
# The watchdog's time is 120 s. Kafka may first have to miss the session of a suspended worker.
_REJOINED_SECONDS = 30.0


def is_past(moment: float) -> bool:
    return time.monotonic() > moment


@pytest.mark.timeout(300)
def test_i4_worker_rejoins_soon_after_each_suspension_and_duplicates_nothing(
    bare_kafka: Cluster, tmp_path: Path
) -> None:
    """Once a stage stayed silent until its watchdog ended the worker."""
    cluster = bare_kafka
    topics.create(cluster, all_topics(PROVIDERS), partitions=4, replication=1)
    sent = 0

    def send(number: int) -> None:
        nonlocal sent
        send_callbacks(cluster, range(sent, sent + number))
        sent += number

    settings = [environment(cluster, tmp_path) for _ in range(2)]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                running(["-m", "streams.cli", "work"], tmp_path / f"{number}.log", env)
            )
            for number, env in enumerate(settings)
        ]
        for number, seconds in enumerate(_SUSPENSIONS):
            suspended = workers[number % 2]
            send(200)
            suspended.send_signal(signal.SIGSTOP)
            resume_at = time.monotonic() + seconds
            send(200)
            until_sync(partial(is_past, resume_at), "the suspension's end")
            suspended.send_signal(signal.SIGCONT)
            send(200)
            until_sync(
                lambda: len(values(cluster, SETTLEMENT)) == sent,
                f"all settlements after {seconds} s",
                _REJOINED_SECONDS,
            )
        for env in settings:
            until_sync(partial(is_ready, int(env[PORT])), "the worker to rejoin its groups")
        assert [worker.poll() for worker in workers] == [None, None]
    links = Counter({f"link-{number}": 1 for number in range(sent)})
    assert Counter(event["link_id"] for event in values(cluster, LINK_EVENTS)) == links
    assert Counter(close["order_id"] for close in values(cluster, ORDER_CLOSE)) == links
    assert Counter(settlement["order_id"] for settlement in values(cluster, SETTLEMENT)) == links
    rows = {row["link_id"]: row for row in values(cluster, LINK_STATUS)}
    assert Counter(row["status"] for row in rows.values()) == {"PAID": sent}
