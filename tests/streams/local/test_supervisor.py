"""The supervisor restarts children with growing delays, and stops them."""

import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from connectors.http.server import Address
from streams.local.supervisor import Child, Supervisor
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

MakeChild = Callable[[str, str], Child]


@pytest.fixture
def child_of(tmp_path: Path) -> MakeChild:
    def make(name: str, program: str) -> Child:
        return Child(
            name, [sys.executable, "-c", program], {}, Address("", 0), tmp_path / f"{name}.log"
        )

    return make


def output(child: Child) -> str:
    return child.log.read_text() if child.log and child.log.exists() else ""


def test_ended_child_is_restarted_and_reported(child_of: MakeChild) -> None:
    lines: list[str] = []
    brief = child_of("brief", "print('ran')")
    supervisor = Supervisor([brief], lines.append)

    def ran_twice() -> bool:
        supervisor.tend()
        return output(brief).count("ran") == 2

    until_sync(ran_twice, "a restart")
    supervisor.stop(5.0)
    assert lines[0].startswith("brief ended with 0; restart in 0.5 s")


def test_delay_grows_to_a_limit_and_a_long_run_resets_it(child_of: MakeChild) -> None:
    child = child_of("any", "")
    child.started_at = 1000.0
    delays = [child.delay(1001.0) for _ in range(10)]
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays[-1] == 30.0
    assert child.delay(1061.0) == 0.5


def test_stop_ends_all_at_once_and_kills_a_deaf_child(child_of: MakeChild) -> None:
    polite = (
        "import signal, sys\n"
        "def end(*_): print('ended', flush=True); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('up', flush=True)\n"
        "signal.pause()\n"
    )
    deaf = "from signal import *; signal(SIGTERM, SIG_IGN); print('up', flush=True); pause()"
    # The deaf one comes first, and the polite one still ends by itself.
    children = [child_of("deaf", deaf), child_of("polite", polite)]
    supervisor = Supervisor(children, print)
    supervisor.tend()
    processes = [psutil.Process(one.process.pid) for one in children if one.process]
    until_sync(lambda: all("up" in output(one) for one in children), "every child")
    assert supervisor.stop(0.5) == ["deaf"]
    assert output(children[1]).split()[-1] == "ended"
    assert not any(process.is_running() for process in processes)
