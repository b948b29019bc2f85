"""Help with examples that are understood, and what the shell completes."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from connectors import examples
from connectors.registry import PROVIDERS
from streams.cli import app
from tests.streams.cli.shell import Shell
from tests.streams.test_cli import COMMANDS

ROOT = Path(__file__).parents[3]
# What each shows how to use; the processes have no options but their port.
SHOWN = (
    *("up", "send", "status", "tail", "rebuild", "doctor", "links add", "links list"),
    *("sandbox", "sandbox play", "sandbox env", "anomalies list", "anomalies done"),
)


def shown(path: str) -> list[str]:
    """The examples in a command's help."""
    lines = (COMMANDS[tuple(path.split())].help or "").splitlines()
    return [line.strip() for line in lines if line.startswith("    linkstatus ")]


@pytest.mark.parametrize("path", SHOWN)
def test_the_examples_in_the_help_are_understood(path: str) -> None:
    assert shown(path)
    for line in shown(path):
        assert len(line) <= 76, line
        words = shlex.split(line.partition(" > ")[0])[1:]
        context = get_command(app).make_context("linkstatus", words, resilient_parsing=True)
        group, rest = get_command(app), words
        while hasattr(group, "commands") and not rest[0].startswith("-"):
            group, rest = group.commands[rest[0]], rest[1:]
        group.make_context("", rest, parent=context).close()


@pytest.mark.parametrize("path", SHOWN)
def test_examples_are_shown_as_they_are(shell: Shell, path: str) -> None:
    out = shell.ok(*path.split(), "--help")
    for line in shown(path):
        assert any(line in row for row in out.splitlines()), out


def test_help_is_plain_where_no_terminal_is(shell: Shell) -> None:
    out = shell.ok("--help")
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


EXAMPLES = {name for provider in PROVIDERS for name in examples.names(provider)}


def completed(*words: str) -> list[str]:
    """What bash would offer for the last word."""
    env = {
        **os.environ,
        "_LINKSTATUS_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("linkstatus", *words)),
        "COMP_CWORD": str(len(words)),
    }
    command = [sys.executable, "-m", "streams.cli"]
    return subprocess.check_output(command, cwd=ROOT, env=env, text=True).split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("st",), {"status"}),
        (("links", ""), {"add", "list"}),
        (("status", "p"), {"ping", "peach"}),
        (
            ("send", "ping", "--example", ""),
            {name for provider in PROVIDERS for name in examples.names(provider)},
        ),
        (("tail", "link"), {"links", "link-events", "link-status"}),
        (("links", "list", "--status", "pa"), {"paid"}),
        (("doctor", "--o"), {"--offline"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_shell_completes(words: tuple[str, ...], offered: set[str]) -> None:
    assert set(completed(*words)) == offered


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_takes_our_completion() -> None:
    env = {**os.environ, "_LINKSTATUS_COMPLETE": "source_bash"}
    command = [sys.executable, "-m", "streams.cli"]
    script = subprocess.check_output(command, cwd=ROOT, env=env, text=True)
    asked = f"{script}\ncomplete -p linkstatus"
    assert "linkstatus" in subprocess.check_output(["bash", "-c", asked], text=True)
