"""The embedded broker: its data survive stops, kills and other ports, and it never outlives us."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from connectors.kafka import Cluster
from connectors.registry import PROVIDERS
from schemas.topics import DAY_MS, LINKS, LOOKUPS, all_topics
from streams import admin, child
from streams.embedded import Broker, BrokerFailed
from tests.waiting import PATIENCE, until_sync


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("own"))
    broker.start()
    yield broker
    broker.stop()


def _produce(broker: Broker, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": broker.brokers, "acks": "all"})
    producer.produce(LINKS.name, value, key=value)
    assert producer.flush(PATIENCE) == 0


def _values(broker: Broker, count: int) -> list[bytes]:
    consumer = Consumer(
        {"bootstrap.servers": broker.brokers, "group.id": "t", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([LINKS.name])
    try:
        return sorted(message.value() or b"" for message in consumer.consume(count, PATIENCE))
    finally:
        consumer.close()


@pytest.mark.kafka
@pytest.mark.slow
def test_data_survive_a_stop_a_kill_and_other_ports(own_broker: Broker) -> None:
    first_port = own_broker.port
    admin.create(Cluster(own_broker.brokers), [LINKS], partitions=1, replication=1)
    _produce(own_broker, b"1 before stop")
    own_broker.stop()
    again = Broker(own_broker.folder.parent, port=first_port)
    again.start()
    assert again.port == first_port
    _produce(again, b"2 before kill")
    again.kill()
    own_broker.start()
    _produce(own_broker, b"3 after kill")
    assert _values(own_broker, 3) == [b"1 before stop", b"2 before kill", b"3 after kill"]


@pytest.mark.kafka
def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    broker = Broker(tmp_path, extra={"log.retention.bytes": "many"})
    with pytest.raises(BrokerFailed, match=r"log\.retention\.bytes"):
        broker.start()
    assert broker.pid is None


@pytest.mark.kafka
def test_a_stopped_broker_leaves_no_process(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    broker.start()
    pid = broker.pid
    assert pid is not None
    broker.stop()
    assert not psutil.pid_exists(pid)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children with their parent")
def test_a_child_dies_with_a_killed_parent(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from streams import child
        print(child.spawn(["sleep", "600"], Path(sys.argv[1])).pid, flush=True)
        time.sleep(600)
        """
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        orphan = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    psutil.wait_procs([orphan], timeout=PATIENCE)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_stop_kills_what_ignores_sigterm(tmp_path: Path) -> None:
    deaf = "from signal import *; signal(SIGTERM, SIG_IGN); print('up', flush=True); pause()"
    log = tmp_path / "log"
    process = child.spawn([sys.executable, "-c", deaf], log)
    until_sync(lambda: child.tail(log) == "up", "the child to be deaf")
    assert child.stop(process, 0.2) == -signal.SIGKILL


@pytest.mark.kafka
def test_topics_are_made_once_and_compared(bare_kafka: Cluster) -> None:
    topics = all_topics(PROVIDERS)
    assert len(admin.check(bare_kafka, topics, 2, 1)) == len(topics)
    assert len(admin.create(bare_kafka, topics, 2, 1)) == len(topics)
    assert admin.create(bare_kafka, topics, 2, 1) == []
    assert admin.check(bare_kafka, topics, 2, 1) == []


@pytest.mark.kafka
def test_every_difference_of_a_topic_is_named(bare_kafka: Cluster) -> None:
    admin.create(bare_kafka, [LINKS], partitions=2, replication=1)
    problems = admin.check(bare_kafka, [LINKS], partitions=3, replication=3)
    name = bare_kafka.topic(LINKS.name)
    assert problems == [
        f"{name}: partitions is 2, should be 3",
        f"{name}: replication is 1, should be 3",
        f"{name}: min.insync.replicas is 1, should be 2",
    ]


@pytest.mark.kafka
def test_what_somebody_changed_on_a_topic_is_named(bare_kafka: Cluster) -> None:
    admin.create(bare_kafka, [LINKS, LOOKUPS], partitions=2, replication=1)
    links, lookups = (bare_kafka.topic(topic.name) for topic in (LINKS, LOOKUPS))
    changes = [
        (links, "cleanup.policy", "delete"),
        (links, "unclean.leader.election.enable", "true"),
        (lookups, "retention.ms", "1000"),
        (lookups, "retention.bytes", "1000"),
    ]
    client = AdminClient(bare_kafka.librdkafka())
    for topic, name, value in changes:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        for future in client.incremental_alter_configs([resource]).values():
            future.result(20)
    assert admin.check(bare_kafka, [LINKS, LOOKUPS], 2, 1) == [
        f"{links}: cleanup.policy is delete, should be compact",
        f"{links}: unclean.leader.election.enable is true, should be false",
        f"{lookups}: retention.ms is 1000, should be {7 * DAY_MS}",
        f"{lookups}: retention.bytes is 1000, should be -1",
    ]
    # `create` makes what is missing, and changes nothing that is there.
    assert admin.create(bare_kafka, [LINKS, LOOKUPS], 2, 1) == []
    assert len(admin.check(bare_kafka, [LINKS, LOOKUPS], 2, 1)) == len(changes)
