"""The supervisor restarts what ends, ever later, and stops what it started."""

import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from streams.supervisor import Child, Supervisor
from tests.waiting import until_sync

pytestmark = pytest.mark.slow

MakeChild = Callable[[str, str], Child]


@pytest.fixture
def child_of(tmp_path: Path) -> MakeChild:
    def make(name: str, program: str) -> Child:
        return Child(name, [sys.executable, "-c", program], {}, 0, tmp_path / f"{name}.log")

    return make


def test_what_ends_is_started_again_and_said(child_of: MakeChild) -> None:
    said: list[str] = []
    brief = child_of("brief", "print('ran')")
    supervisor = Supervisor([brief], said.append)

    def ran_twice() -> bool:
        supervisor.tend()
        return brief.log.exists() and brief.log.read_text().count("ran") == 2

    until_sync(ran_twice, "a restart")
    supervisor.stop([(["brief"], 5.0)])
    assert said[0].startswith("brief ended with 0; again in 0.5 s")


def test_the_wait_grows_to_a_bound_and_a_steady_run_forgets_it(child_of: MakeChild) -> None:
    child = child_of("any", "")
    child.started_at = 1000.0
    waits = [child.delay(1001.0) for _ in range(10)]
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert waits[-1] == 30.0
    assert child.delay(1061.0) == 0.5


def test_stop_ends_groups_in_order_and_kills_the_deaf(child_of: MakeChild) -> None:
    report = (
        "import signal, sys, time\n"
        "def end(*_): print('told', time.monotonic_ns(), flush=True); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('up', flush=True)\n"
        "signal.pause()\n"
    )
    deaf = "from signal import *; signal(SIGTERM, SIG_IGN); print('up', flush=True); pause()"
    first, last = child_of("first", report), child_of("last", report)
    children = [first, last, child_of("deaf", deaf)]
    supervisor = Supervisor(children, print)
    supervisor.tend()
    processes = [psutil.Process(one.process.pid) for one in children if one.process]
    until_sync(lambda: all("up" in one.log.read_text() for one in children), "all to be up")
    killed = supervisor.stop([(["deaf"], 0.2), (["first"], 5.0), (["last"], 5.0)])
    assert killed == ["deaf"]
    told = [int(one.log.read_text().split()[-1]) for one in (first, last)]
    assert told[0] < told[1]
    assert not any(process.is_running() for process in processes)
