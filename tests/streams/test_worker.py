"""The worker's name, and its probes. Workers with one name would fence each other off."""

import subprocess
import sys
from pathlib import Path

from connectors.http.server import Address, CannotListen
from schemas.limits import HEAD_BYTES
from streams.settings import load
from streams.worker import ProbeServer, instance_name
from tests.support.ports import free_port
from tests.support.waiting import until
from tests.support.wire import Wire

PROGRAM = """
import sys
from streams.settings import load
from streams.worker import instance_name
print(instance_name(load(data_dir=sys.argv[1])), flush=True)
"""


def name_in_a_process(folder: Path) -> str:
    """The name of a worker that has ended."""
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_i1_running_workers_have_different_names(tmp_path: Path) -> None:
    """In one folder, and on one host in different folders."""
    folders = [tmp_path / part for part in ("a", "a", "b")]
    assert len({instance_name(load(data_dir=folder)) for folder in folders}) == 3


def test_restarted_worker_keeps_its_name(tmp_path: Path) -> None:
    assert name_in_a_process(tmp_path) == name_in_a_process(tmp_path)


def test_given_name_replaces_host_and_id(tmp_path: Path) -> None:
    assert instance_name(load(data_dir=tmp_path, instance="pod-3")) == "pod-3-0"


async def test_b4_probes_of_the_worker_have_the_limits_of_all_servers() -> None:
    port = free_port()
    request = b"GET /readyz HTTP/1.1\r\nconnection: close\r\n"
    server = ProbeServer(Address("127.0.0.1", port), [])
    async with server:
        await until(lambda: server.listens, "the server")
        wire = Wire(port)
        assert await wire.statuses(request + b"\r\n") == [200]
        assert await wire.statuses(request + b"a: " + b"x" * HEAD_BYTES + b"\r\n\r\n") == [431]


async def test_worker_whose_port_is_taken_ends() -> None:
    port = free_port()
    server = ProbeServer(Address("127.0.0.1", port), [])
    async with server:
        await until(lambda: server.listens, "the server")
        second = ProbeServer(Address("127.0.0.1", port), [])
        await second.start()
        await until(lambda: second.crashed, "the second server to end")
        assert isinstance(second.crash_reason, CannotListen)
        await second.stop()
