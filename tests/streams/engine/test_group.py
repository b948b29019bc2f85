"""The consumer group of a stage, and that asking for its members survives its coordinator."""

import ast
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from connectors.kafka import group_members
from connectors.kafka.cluster import Cluster
from schemas.topics import LINKS
from streams.engine.group import Group
from streams.local import subprocesses
from streams.local.broker import Broker
from tests.support.documents import ROOT
from tests.support.ports import free_port
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

_THREADS = 8


def ask_for_ever(brokers: str, counted: Path) -> None:
    """Ask for the members in several threads, as the stages of a worker do. Write down each answer
    and each error.
    """
    group_members._SECONDS = 1.0

    def ask(file: Path) -> None:
        with file.open("a", buffering=1) as lines:
            while True:
                word = "error"
                with suppress(KafkaException):
                    Group(Cluster(brokers), "g").members()
                    word = "answer"
                lines.write(f"{word}\n")

    for number in range(_THREADS):
        Thread(target=ask, args=[counted / str(number)]).start()


def words(folder: Path) -> list[str]:
    return [word for file in folder.iterdir() for word in file.read_text().split()]


@pytest.mark.long
def test_worker_survives_a_coordinator_that_goes_away(tmp_path: Path) -> None:
    """librdkafka's `describe_consumer_groups` ended the process with SIGABRT."""
    counted = tmp_path / "counted"
    counted.mkdir()
    broker = Broker(tmp_path, port=free_port())
    broker.start()
    program = f"from {__name__} import *; ask_for_ever({broker.brokers!r}, Path({str(counted)!r}))"
    env = {"PYTHONPATH": str(ROOT)}
    asking = subprocesses.spawn([sys.executable, "-c", program], tmp_path / "log", env)
    try:
        until_sync(lambda: "answer" in words(counted), "the first answer")
        broker.kill()
        until_sync(lambda: "error" in words(counted), "an error")
        broker.start()
        before = len(words(counted))
        until_sync(lambda: "answer" in words(counted)[before:], "an answer after the outage")
        with pytest.raises(subprocess.TimeoutExpired):
            asking.wait(0.1)
    finally:
        asking.kill()
        asking.wait()
        broker.stop()


def test_members_have_their_ids_and_client_ids(kafka: Cluster) -> None:
    ours = Group(kafka, "g")
    assert ours.members() == {}
    settings = {"group.id": ours.name, "client.id": "worker-1"}
    consumer = Consumer({**kafka.librdkafka(), **settings})
    consumer.subscribe([kafka.topic(LINKS.name)])
    until_sync(lambda: consumer.poll(0.1) is None and bool(consumer.assignment()), "the assignment")
    assert ours.members() == {consumer.memberid(): "worker-1"}
    consumer.close()


def test_unstable_offsets_have_their_metadata(kafka: Cluster) -> None:
    """It names the owner whose transaction may be pending."""
    ours, topic = Group(kafka, "g"), kafka.topic(LINKS.name)
    consumer = Consumer({**kafka.librdkafka(), "group.id": ours.name})
    committed = TopicPartition(topic, 0, 7, "owner")
    consumer.commit(offsets=[committed], asynchronous=False)
    consumer.close()
    found = ours._stable_offsets([TopicPartition(topic, 0), TopicPartition(topic, 1)])
    assert [(p.offset, p.metadata) for p in found] == [(7, "owner"), (-1001, None)]


def test_no_request_of_an_administrator_goes_to_a_coordinator() -> None:
    """Each of them can end the process (github.com/confluentinc/librdkafka/issues/4605)."""
    banned = {
        *("describe_consumer_groups", "list_consumer_group_offsets"),
        *("alter_consumer_group_offsets", "delete_consumer_groups"),
    }
    used = {
        str(file.relative_to(ROOT))
        for folder in ("connectors", "schemas", "streams")
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in banned
    }
    # aiokafka's.
    assert used == {"connectors/kafka/group_members.py"}
