"""`linkstatus sandbox` with an external receiver."""

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.sandbox import play
from tests.streams.cli.conftest import Receiver
from tests.support.documents import RECEIVER
from tests.support.shell import Shell, run_process


@pytest.mark.slow
def test_documented_commands_test_an_external_receiver(
    shell: Shell,
    receiver: Receiver,
    sandbox: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Spread the callbacks over half a second instead of four.
    monkeypatch.setattr(play.play, "__defaults__", (60.0, 0.5, None, None))
    commands = [line.replace("http://127.0.0.1:3000", receiver.url) for line in RECEIVER]
    send, simulate, play_ = (shlex.split(line)[1:] for line in commands)
    assert len(shell.ok(*send).splitlines()) == 6
    receiver.callbacks.clear()
    sandbox(*simulate[1:], "--speed", "6000")
    ran = shell.run(*play_)
    assert (ran.code, "all callbacks acknowledged" in ran.err) == (0, True), ran
    result = json.loads(ran.out)
    assert (result["agrees"], result["undelivered"]) == (True, 0)
    paid = [link for link in result["expected"]["links"] if link["status"] == ["PAID"]]
    assert len(paid) > 4
    for link in paid:
        path = f"/hooks/{link['provider']}"
        bodies = [one.body for one in receiver.callbacks if one.path == path]
        assert any(link["link_id"].encode() in body for body in bodies), link
    receiver.answers = [500] * 10_000
    ran = shell.run("sandbox", "play", "--links", "1", "--wait", "0")
    assert (ran.code, "callbacks are not delivered" in ran.err) == (1, True)


def test_taken_port_is_named(shell: Shell, receiver: Receiver) -> None:
    port = receiver.url.rpartition(":")[2]
    ran = shell.run("sandbox", "--port", port)
    assert (ran.code, f"cannot listen on 127.0.0.1:{port}" in ran.err) == (1, True), ran


def test_h4_exec_runs_a_command_with_the_variables_of_the_sandbox(tmp_path: Path) -> None:
    def run(*command: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
        return run_process("sandbox", "exec", *command, LINKSTATUS_DATA_DIR=str(data_dir))

    ran = run("sh", "-c", 'echo "$LINKSTATUS_IPINT__API_SECRET"; exit 7', data_dir=tmp_path)
    assert (ran.returncode, len(ran.stdout) > 8, ran.stderr) == (7, True, "")
    assert run("no-such-command", data_dir=tmp_path).returncode == 1
    (tmp_path / "file").write_text("")
    failed = run("echo", "started", data_dir=tmp_path / "file")
    assert (failed.returncode, failed.stdout) == (1, "")
