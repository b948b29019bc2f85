"""Every command of the README, run as it stands there, on a system that `up` has started."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest

from connectors.sandbox.plan import plan
from streams import child
from streams.child import free_port
from tests.system import System
from tests.test_readme import COMMANDS, README, RECEIVER, ROOT
from tests.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

# Not to be run by the tests that they run, or in minutes only; their recipes are looked at.
LONG = ("make test", "make test-fast", "make test-pythons", "make lint", "make chaos", "make bench")
# Its own test is below.
STARTING = ("make up", "source .venv/bin/activate")
# The play comes last: a rebuild right after it may tell two payments of the same moment apart
# otherwise than the workers did, as the README says.
SHORT = sorted(
    (
        command
        for command in COMMANDS
        # kcat has its test in test_whole_way.
        if command not in (*LONG, *STARTING, *RECEIVER) and not command.startswith("kcat")
    ),
    key=lambda command: "play" in command,
)
# Links and orders of the README's play: how many depends on the lives that the sandbox knows.
PLAYED = plan(24, 7)
FACTS = len(PLAYED.expected_links) + len(PLAYED.expected_orders)
SAYS = {
    "linkstatus sandbox play": f"{FACTS} of {FACTS} agree",
    "linkstatus send": "200",
    "linkstatus status": "PAID",
    "linkstatus tail": "order-close",
    "linkstatus links add": "1 good",
    "linkstatus rebuild": "the same",
    "linkstatus anomalies list": "UNKNOWN_STATUS",
    "linkstatus anomalies done": "1 open anomaly",
    "linkstatus dead-letters list": "EXPLODED",
    "linkstatus dead-letters replay": "1 dead letter",
    "linkstatus dead-letters aside": "1 dead letter",
    "curl -i": "200 OK",
    "curl http": '"status":"PAID"',
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("readme")).start()
    unknown = b'{"invoice_id": "U1", "status": "EXPLODED"}'
    httpx.post(f"{system.url}/callbacks/ipint", content=unknown).raise_for_status()
    yield system
    system.stop()


@pytest.fixture(scope="module")
def terminal(system: System, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who has the virtual environment activated."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "linkstatus").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m streams.cli "$@"\n')
    (folder / "linkstatus").chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return {**system.environment_of_commands, "PATH": path, "PYTHONPATH": str(ROOT)}


def run(command: str, environment: dict[str, str], folder: Path) -> tuple[int, str]:
    ran = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
        check=False,
    )
    return ran.returncode, ran.stdout


@pytest.mark.parametrize("command", SHORT)
def test_the_command_does_what_the_readme_says(
    command: str, system: System, terminal: dict[str, str], tmp_path: Path
) -> None:
    if command.startswith("curl") and shutil.which("curl") is None:
        pytest.skip("curl is not here")
    (tmp_path / "links.csv").write_text("provider,link_id,order_id\nping,L1,O1\n")
    (says,) = [said for start, said in SAYS.items() if command.startswith(start)]
    here = command.replace("http://127.0.0.1:8080", system.url)
    tries = count()
    said: list[tuple[int, str]] = []

    def done() -> bool:
        # A rebuild needs new topics.
        now = here.replace("rebuilt.", f"rebuilt{next(tries)}.")
        said[:] = [run(now, terminal, tmp_path)]
        return said[0][0] == 0 and says in said[0][1]

    # What was sent a moment ago takes a moment.
    try:
        until_sync(done, f"{command} to say {says}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {said}") from None


@pytest.mark.parametrize("command", LONG)
def test_the_recipe_of_a_long_one_is_one(command: str) -> None:
    assert f"\n{command}" in README
    said = subprocess.run(
        [*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert re.search(r"-m (pytest|nox|tests\.)", said.stdout), said.stdout


def test_make_up_starts_everything(tmp_path: Path) -> None:
    if not (ROOT / ".venv" / "installed").exists():
        pytest.skip("`make` has not installed a virtual environment here")
    port = free_port()
    here = {
        **os.environ,
        "LINKSTATUS_DATA_DIR": str(tmp_path / "data"),
        "LINKSTATUS_HTTP__PORT": str(port),
    }
    printed = tmp_path / "out"
    running = child.spawn(["make", "-C", str(ROOT), "up"], printed, here)
    try:
        ready = f"page      http://127.0.0.1:{port}/"
        until_sync(lambda: ready in printed.read_text(), "everything to be ready", 120)
    finally:
        child.stop(running, 20)
