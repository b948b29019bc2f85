"""Help, examples in the help, completion, `--json` and `--version` of every command."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
from typer.main import get_command

from connectors.providers import examples
from connectors.providers.registry import PROVIDERS
from streams.cli.app import app
from tests.support.shell import Shell, run_process

# Commands without output for programs: processes, shell text, one word.
WITHOUT_JSON = {"up", "receive", "work", "lookup", "settle", "notify", "board", "web"}
WITHOUT_JSON |= {"sandbox env", "sandbox exec", "schemas release"}
# The commands that need no example: processes, whose only option is the port, and plain ones.
WITHOUT_EXAMPLE = WITHOUT_JSON - {"up", "sandbox env"}
WITHOUT_EXAMPLE |= {"dead-letters show", "topics create", "topics check", "topics acls"}
WITHOUT_EXAMPLE |= {"schemas check", "schemas register"}


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    yield " ".join(path), command
    for name, sub in getattr(command, "commands", {}).items():
        yield from _commands(sub, (*path, name))


COMMANDS = dict(_commands(get_command(app)))
LEAVES = [path for path, command in COMMANDS.items() if not hasattr(command, "commands")]


def shown(path: str) -> list[str]:
    """The examples in a command's help."""
    lines = (COMMANDS[path].help or "").splitlines()
    return [line.strip() for line in lines if line.startswith("    linkstatus ")]


@pytest.mark.parametrize("path", COMMANDS)
def test_command_has_help_for_itself_and_every_option_and_json(shell: Shell, path: str) -> None:
    command = COMMANDS[path]
    assert command.help
    options = [p for p in command.params if p.param_type_name == "option"]
    assert [option.name for option in options if not option.help] == []
    with_json = path in LEAVES and path not in WITHOUT_JSON
    assert ("--json" in {name for option in options for name in option.opts}) is with_json
    out = shell.ok(*path.split(), "--help")
    assert "Usage" in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    for line in shown(path):  # an example is not wrapped
        assert any(line in row for row in out.splitlines()), out


@pytest.mark.parametrize("path", [*sorted({*LEAVES} - WITHOUT_EXAMPLE), "sandbox"])
def test_example_in_the_help_is_valid(path: str) -> None:
    assert shown(path)
    for line in shown(path):
        assert len(line) <= 76, line
        words = shlex.split(line.partition(" > ")[0])[1:]
        context = get_command(app).make_context("linkstatus", words, resilient_parsing=True)
        group, rest = get_command(app), words
        while hasattr(group, "commands") and not rest[0].startswith("-"):
            group, rest = group.commands[rest[0]], rest[1:]
        group.make_context("", rest, parent=context).close()


def test_help_imports_no_heavy_module() -> None:
    program = "import sys, streams.cli; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    heavy = {"aiokafka", "confluent_kafka", "faust", "httpx", "jgo", "pydantic", "sqlalchemy"}
    assert heavy & set(loaded) == set()


def test_version_is_the_distribution_s(shell: Shell) -> None:
    assert shell.ok("--version") == f"linkstatus {version('linkstatus')}\n"


def completions(*words: str) -> list[str]:
    """What bash offers for the last word."""
    ran = run_process(
        _LINKSTATUS_COMPLETE="complete_bash",
        COMP_WORDS=" ".join(("linkstatus", *words)),
        COMP_CWORD=str(len(words)),
    )
    return ran.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("st",), {"status"}),
        (("links", ""), {"add", "list", "lookup"}),
        (("status", "p"), {"ping", "peach"}),
        (
            ("send", "ping", "--example", ""),
            {name for provider in PROVIDERS for name in examples.names(provider)},
        ),
        (("tail", "link"), {"links", "link-events", "link-facts", "link-status"}),
        (("links", "list", "--status", "pa"), {"PAID"}),
        (("doctor", "--o"), {"--offline"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_shell_completes_words(words: tuple[str, ...], offered: set[str]) -> None:
    assert set(completions(*words)) == offered


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_accepts_the_completion_script() -> None:
    script = run_process(_LINKSTATUS_COMPLETE="source_bash").stdout
    check = f"{script}\ncomplete -p linkstatus"
    assert "linkstatus" in subprocess.check_output(["bash", "-c", check], text=True)
