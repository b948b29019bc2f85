"""Every process listens where its settings say, and programs on this machine find it there."""

import os
import sys
from pathlib import Path

import psutil
import pytest

from connectors.http.server import Address
from connectors.kafka.cluster import Cluster
from streams.environment import BadSettings
from streams.local import subprocesses
from streams.settings import load
from tests.support.ports import free_port
from tests.support.waiting import until_sync

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("", "http://127.0.0.1:80"),
        ("localhost", "http://localhost:80"),
        ("::1", "http://[::1]:80"),
        ("[::1]", "http://[::1]:80"),
        ("::", "http://[::1]:80"),
        ("2001:db8::1", "http://[2001:db8::1]:80"),
    ],
)
def test_f4_url_of_each_kind_of_address(host: str, url: str) -> None:
    settings = load(http={"host": host, "port": 80})
    assert settings.address().url == url
    assert (settings.edge_url, settings.board_url()) == (url, url)
    settings = load(http={"host": host}, edge_url="http://edge", board={"url": "http://board"})
    assert (settings.edge_url, settings.board_url()) == ("http://edge", "http://board")


@pytest.mark.parametrize("host", ["http://127.0.0.1", "127.0.0.1/x", "a b"])
def test_f4_host_that_is_none_is_named(host: str) -> None:
    with pytest.raises(BadSettings, match=r"^LINKSTATUS_HTTP__HOST: "):
        load(http={"host": host})


def test_f4_port_of_another_address_is_free() -> None:
    port = free_port(host="::1")
    assert free_port(port, "::1") == port
    with pytest.raises(OSError, match="assign"):
        free_port(port, "192.0.2.1")


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
@pytest.mark.parametrize(
    "command",
    [
        *("receive", "receive --processes 2", "work", "lookup", "settle", "notify"),
        *("board", "web", "sandbox"),
    ],
)
def test_f5_every_process_listens_only_where_it_is_set(
    command: str, kafka: Cluster, tmp_path: Path
) -> None:
    address = Address("127.0.0.2", free_port(host="127.0.0.2"))
    section = "SANDBOX" if command == "sandbox" else "HTTP"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LINKSTATUS_BROKERS": kafka.brokers,
        "LINKSTATUS_TOPIC_PREFIX": kafka.prefix,
        "LINKSTATUS_DATA_DIR": str(tmp_path),
        f"LINKSTATUS_{section}__HOST": address.host,
        f"LINKSTATUS_{section}__PORT": str(address.port),
    }
    log = tmp_path / "log"
    child = subprocesses.spawn(
        [sys.executable, "-m", "streams.cli", *command.split()], log, environment
    )

    def listening() -> set[tuple[str, int]]:
        sockets = psutil.Process(child.pid).net_connections("tcp")
        return {
            (one.laddr.ip, one.laddr.port) for one in sockets if one.status == psutil.CONN_LISTEN
        }

    try:
        until_sync(lambda: bool(listening()) or child.poll() is not None, "a listening process")
        assert listening() == {(address.host, address.port)}, subprocesses.tail(log)
    finally:
        subprocesses.stop(child, 10)
