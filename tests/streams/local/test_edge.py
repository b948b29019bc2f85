"""`linkstatus receive --processes`: several processes behind one port."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from connectors.http.server import Address, listen
from connectors.kafka.cluster import Cluster
from connectors.receive.member import Memory
from schemas.limits import EARLY_ENDS, EDGE_PROCESSES
from streams.local import edge, supervisor
from streams.local.edge import KeepsEnding
from streams.local.supervisor import STOP_SECONDS, Child
from tests.support.ports import free_port
from tests.support.processes import LINKSTATUS, PORT, environment, run, running
from tests.support.reading import read_all
from tests.support.shell import Shell
from tests.support.waiting import until_sync, until_threaded

_SENDERS = 16


class Edge:
    """A running edge of two processes."""

    def __init__(self, parent: psutil.Process, port: int, folder: Path) -> None:
        self.parent, self.folder = parent, folder
        self.url = f"http://127.0.0.1:{port}"

    def children(self) -> list[psutil.Process]:
        return self.parent.children()

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=10)

    def is_ready(self) -> bool:
        return self.get("/readyz").is_success

    def acknowledged(self) -> int:
        """Return the number in /metrics."""
        families = text_string_to_metric_families(self.get("/metrics").text)
        return _acknowledged(families)

    def acknowledged_by(self, number: int) -> int:
        """Return the number of one process, from the files of its metrics."""
        files = [str(self.folder / f"counter_{number}.db")]
        return _acknowledged(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]


def _acknowledged(families: Any) -> int:
    samples = (sample for family in families for sample in family.samples)
    return int(
        sum(
            sample.value
            for sample in samples
            if sample.name == "linkstatus_callbacks_total" and sample.labels["answer"] == "200"
        )
    )


@pytest.fixture
def two(kafka: Cluster, tmp_path: Path) -> Iterator[Edge]:
    settings = environment(kafka, tmp_path, LOG_LEVEL="WARNING")
    argv = ["-m", "streams.cli", "receive", "--processes", "2"]
    with running(argv, tmp_path / "log", settings) as process:
        started = Edge(psutil.Process(process.pid), int(settings[PORT]), tmp_path / "receive" / "0")
        yield started


class Load:
    """Senders that post until `enough`; each has a connection of its own, and a new one after an
    error.
    """

    def __init__(self, url: str) -> None:
        self._url = f"{url}/callbacks/ipint"
        self.acknowledged: list[bytes] = []
        self.failures: Counter[str] = Counter()
        self._enough = False

    async def run(self, until_enough: Callable[[], Any]) -> None:
        senders = [asyncio.create_task(self._send(number)) for number in range(_SENDERS)]
        try:
            await until_enough()
        finally:
            self._enough = True
            await asyncio.gather(*senders)

    async def _send(self, sender: int) -> None:
        count = 0
        while not self._enough:
            async with httpx.AsyncClient(timeout=20) as client:
                with contextlib.suppress(httpx.TransportError):
                    while not self._enough:
                        count += 1
                        invoice = {"invoice_id": f"I{sender}-{count}", "status": "COMPLETED"}
                        body = json.dumps(invoice).encode()
                        answer = await client.post(self._url, content=body)
                        if answer.status_code == 200:
                            self.acknowledged.append(body)
                        else:
                            self.failures[answer.text] += 1


@pytest.mark.kafka
@pytest.mark.slow
async def test_killed_process_is_replaced_and_loses_no_callback(two: Edge, kafka: Cluster) -> None:
    load = Load(two.url)
    before = two.children()
    assert len(before) == 2

    async def kill_one() -> None:
        await until_threaded(lambda: len(load.acknowledged) > 200, "acknowledged callbacks")
        await asyncio.to_thread(before[0].kill)
        await until_threaded(lambda: not two.is_ready(), "a missing process at /readyz")
        taken = len(load.acknowledged)
        await until_threaded(two.is_ready, "the new process")
        await until_threaded(lambda: len(load.acknowledged) > taken + 200, "more callbacks")

    await load.run(kill_one)
    assert two.acknowledged_by(1) > 0
    assert two.acknowledged_by(2) > 0
    # The killed process may have counted a callback without having answered.
    assert len(load.acknowledged) <= two.acknowledged() <= len(load.acknowledged) + _SENDERS
    assert load.failures == {}
    kept = Counter(message.value() for message in read_all(kafka, "callbacks.ipint"))
    assert [body for body in load.acknowledged if body not in kept] == []
    now = two.children()
    assert len(now) == 2
    assert before[1] in now


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children with their parent")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signal_to_the_parent_ends_all(two: Edge, number: int) -> None:
    family = [two.parent, *two.children()]
    started = time.monotonic()
    two.parent.send_signal(number)
    _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS + 2)
    assert alive == [], time.monotonic() - started
    with pytest.raises(httpx.ConnectError):
        two.get("/healthz")


@pytest.mark.kafka
@pytest.mark.slow
def test_frozen_process_is_seen_and_stops_no_new_connection(two: Edge) -> None:
    frozen, _ = two.children()
    frozen.suspend()
    until_sync(lambda: not two.is_ready(), "the frozen process at /readyz")
    assert "does not react" in two.get("/readyz").text
    for number in range(10):
        body = {"invoice_id": f"I{number}", "status": "COMPLETED"}
        assert httpx.post(f"{two.url}/callbacks/ipint", json=body, timeout=10).status_code == 200
    assert two.acknowledged() == 10
    frozen.resume()
    until_sync(two.is_ready, "a ready edge")


@pytest.mark.kafka
@pytest.mark.slow
def test_second_edge_in_the_same_data_folder_has_metrics_of_its_own(
    two: Edge, kafka: Cluster, tmp_path: Path
) -> None:
    settings = environment(kafka, tmp_path)
    argv = ["-m", "streams.cli", "receive", "--processes", "2"]
    (two.folder.parent / "1").mkdir()
    stale = two.folder.parent / "1" / "counter_1.db"
    stale.write_bytes(b"of an edge that was killed")
    with running(argv, tmp_path / "log2", settings) as process:
        second = Edge(psutil.Process(process.pid), int(settings[PORT]), two.folder.parent / "1")
        httpx.post(f"{two.url}/callbacks/ipint", json={"invoice_id": "I1", "status": "COMPLETED"})
        assert (two.acknowledged(), second.acknowledged()) == (1, 0)


@pytest.fixture
def signals() -> Iterator[None]:
    """Restore the handlers of pytest."""
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


def child(folder: Path, program: str) -> Child:
    argv = [sys.executable, "-c", program]
    return Child("receive 1", argv, {}, Address("", 0), folder / "log")


@pytest.mark.slow
@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize(
    ("code", "runs", "message"),
    [
        (3, EARLY_ENDS, rf"receive 1 ended {EARLY_ENDS} times in a row, at last with 3;"),
        (2, 1, "receive 1 ended with 2;"),
    ],
    ids=["fails", "wrong settings"],
)
def test_edge_ends_when_a_process_keeps_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, runs: int, message: str
) -> None:
    monkeypatch.setattr(supervisor, "_FIRST_DELAY", 0.01)
    failing = child(tmp_path, f"print('ran', flush=True); raise SystemExit({code})")
    steady = child(tmp_path, "import signal; signal.pause()")
    with (
        (tmp_path / "memory").open("wb+") as file,
        socket.create_server(("127.0.0.1", 0)) as listening,
        pytest.raises(KeepsEnding, match=message),
    ):
        edge.supervise([failing, steady], Memory.create(file.fileno(), 2), [listening])
    assert listening.fileno() == -1
    assert (tmp_path / "log").read_text().count("ran") == runs
    assert steady.process is None


@pytest.mark.parametrize(("number", "border"), [(0, 1), (EDGE_PROCESSES + 1, EDGE_PROCESSES)])
def test_number_of_processes_outside_the_limit_is_refused(
    shell: Shell, number: int, border: int
) -> None:
    ran = shell.run("receive", "--processes", str(number))
    assert (ran.code, ran.out) == (2, "")
    assert "'--processes'" in ran.err
    assert f"or equal to {border} " in ran.err


@pytest.mark.parametrize("number", [2, EDGE_PROCESSES])
def test_number_of_processes_within_the_limit_is_taken(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    started: list[int] = []
    monkeypatch.setattr(edge, "run", lambda _, processes: started.append(processes))
    shell.ok("receive", "--processes", str(number))
    assert started == [number]


@pytest.mark.kafka
@pytest.mark.slow
def test_one_process_has_no_child(kafka: Cluster, tmp_path: Path) -> None:
    argv = ["-m", "streams.cli", "receive", "--processes", "1"]
    with running(argv, tmp_path / "log", environment(kafka, tmp_path)) as process:
        assert psutil.Process(process.pid).children() == []
    assert not (tmp_path / "receive").exists()


@pytest.mark.slow
def test_taken_port_and_missing_setting_are_named(tmp_path: Path) -> None:
    port = free_port()
    (taken,) = listen(Address("127.0.0.1", port))
    settings = {**os.environ, "LINKSTATUS_DATA_DIR": str(tmp_path / "data")}
    command = (*LINKSTATUS, "receive", "--processes", "2", "--port", str(port))
    ran = run(*command, code=2, env=settings)
    assert "LINKSTATUS_BROKERS is not set" in ran.stderr
    with taken:
        ran = run(*command, code=1, env=settings | {"LINKSTATUS_BROKERS": "127.0.0.1:1"})
    assert f"cannot listen on 127.0.0.1:{port}; end the process that uses it" in ran.stderr
