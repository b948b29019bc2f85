"""Run every command of README and docs, as it is written, on a system that `up` has started."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest

from connectors.sandbox.scenario import build_scenario
from streams.local import subprocesses
from tests.e2e.system import System
from tests.support.documents import COMMANDS, GUIDE, KCAT, RECEIVER, ROOT
from tests.support.ports import free_port
from tests.support.processes import run
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

# They run the tests themselves, or take minutes: only their recipes are checked.
LONG = [c for c in COMMANDS if c.startswith("make") and c != "make up"]
# These have tests of their own, or change the working copy.
ELSEWHERE = [
    *RECEIVER,
    *KCAT,
    "make up",
    "source .venv/bin/activate",
    "linkstatus schemas release 0.2.0",
]
# The play comes last: a rebuild right after it may order two payments of the same moment
# differently from the workers, as docs/operating.md says.
SHORT = sorted({*COMMANDS} - {*LONG, *ELSEWHERE}, key=lambda command: ("play" in command, command))
PLAYED = build_scenario(24, 7)
FACTS = len(PLAYED.expected_links) + len(PLAYED.expected_orders)
OUTPUT = {
    "linkstatus sandbox play": f"{FACTS} of {FACTS} agree",
    "linkstatus send": "200",
    "linkstatus status": "PAID",
    "linkstatus tail order-close": "order-close",
    "linkstatus tail link-status": "link-status",
    "linkstatus links add": "1 good",
    "linkstatus reconcile --provider peach": "nothing was closed, and nothing was paid out",
    "linkstatus reconcile --provider ipint": "1 other",
    "linkstatus import": "0 links imported",
    "linkstatus schemas check": "",
    "linkstatus doctor": "brokers",
    "linkstatus rebuild": "the same",
    "linkstatus verify": "no differences",
    "linkstatus anomalies list": "UNKNOWN_STATUS",
    "linkstatus anomalies resolve": "1 open anomaly",
    "linkstatus dead-letters list": "EXPLODED",
    "linkstatus dead-letters replay": "1 dead letter",
    "linkstatus dead-letters replay --stage notify": "0 dead letters",
    "linkstatus dead-letters resolve": "1 open dead letter",
    "curl -i": "200 OK",
    "curl http": '"status":"PAID"',
    "curl 'http://127.0.0.1:8080/money": '"since":"2025-11-01"',
    "curl 'http://127.0.0.1:8080/orders": '"orders":',
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, brokers: str) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("docs"), LINKSTATUS_BROKERS=brokers).start()
    unknown = b'{"invoice_id": "U1", "status": "EXPLODED"}'
    httpx.post(f"{system.url}/callbacks/ipint", content=unknown).raise_for_status()
    yield system
    system.stop()


@pytest.fixture(scope="module")
def environment(system: System, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of a shell with the virtual environment activated."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "linkstatus").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m streams.cli "$@"\n')
    (folder / "linkstatus").chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return {**system.environment_of_commands, "PATH": path, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("command", SHORT)
def test_command_prints_what_the_page_says(
    command: str, system: System, environment: dict[str, str], tmp_path: Path
) -> None:
    if command.startswith("curl") and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "links.csv").write_text("provider,link_id,order_id\nping,L1,O1\n")
    expected = OUTPUT[max((start for start in OUTPUT if command.startswith(start)), key=len)]
    (tmp_path / "payouts.csv").write_text("reference,kind,fee,currency\nmonthly,fee,1,INR\n")
    local = command.replace("http://127.0.0.1:8080", system.url)
    tries = count()

    def succeeds() -> bool:
        # A rebuild needs new topics.
        again = local.replace("rebuilt.", f"rebuilt{next(tries)}.")
        ended = run("sh", "-c", again, code=None, cwd=tmp_path, env=environment)
        print(ended)
        return ended.returncode == 0 and expected in ended.stdout + ended.stderr

    # The pipeline needs a moment for what was just sent.
    until_sync(succeeds, f"{command} to print {expected}")


@pytest.mark.parametrize("command", LONG)
def test_make_target_has_a_recipe(command: str) -> None:
    recipe = run(*command.split(), "--dry-run").stdout
    assert re.search(r"-m (pytest|nox|tests\.)|\.venv/bin/mypy", recipe), recipe


def test_make_up_starts_everything(tmp_path: Path) -> None:
    assert "\nmake up" in GUIDE
    if not (ROOT / ".venv" / "installed").exists():
        pytest.skip("`make` has not installed a virtual environment here")
    port = free_port()
    environment = {
        **os.environ,
        "LINKSTATUS_DATA_DIR": str(tmp_path / "data"),
        "LINKSTATUS_HTTP__PORT": str(port),
    }
    output = tmp_path / "out"
    process = subprocesses.spawn(["make", "-C", str(ROOT), "up"], output, environment)
    try:
        ready = f"page      http://127.0.0.1:{port}/"
        until_sync(lambda: ready in output.read_text(), "everything to be ready", 120)
    finally:
        subprocesses.stop(process, 20)
