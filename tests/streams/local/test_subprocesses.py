"""Child processes end with their parent; each gets a port of its own."""

import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from streams.local.subprocesses import PORTS
from tests.support.ports import free_port, ports_of
from tests.support.waiting import PATIENCE

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
# The first port of Linux's default range.
_DEFAULT = 32_768


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children with their parent")
def test_child_ends_with_a_killed_parent(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from streams.local import subprocesses
        print(subprocesses.spawn(["sleep", "600"], Path(sys.argv[1])).pid, flush=True)
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


def test_free_ports_differ_and_lie_below_the_system_s_range() -> None:
    """Another program, or a client's connection, cannot get the port of a process that starts
    later.
    """
    ports = {free_port() for _ in range(500)}
    assert len(ports) == 500
    lowest = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else _DEFAULT
    assert lowest < _DEFAULT or max(ports) < lowest


def test_no_port_belongs_to_two_workers_of_the_tests_or_to_the_product() -> None:
    """Else a program of one takes a port that the other has chosen and not yet bound."""
    ranges = [ports_of(worker) for worker in range(10)] + [PORTS]
    ports = [port for ports in ranges for port in ports]
    assert len(ports) == len(set(ports))
    assert free_port() not in PORTS
