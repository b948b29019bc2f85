"""What the documents say is so."""

import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.main import get_command

from connectors.edge.links import LinkForm, registration
from connectors.kafka import Cluster
from connectors.registry import PROVIDERS
from schemas.codec import ORDER_CLOSE
from schemas.topics import all_topics
from streams import child, settings
from streams.cli import app
from tests.reading import write_all
from tests.waiting import until_sync

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
# A receiver that is not ours is tried with these; tests/streams/cli/test_send.py runs them.
(RECEIVER,) = (block.splitlines() for block in BLOCKS if "--callbacks-to" in block)
COMMANDS = [
    line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()
]


def of(program: str) -> list[str]:
    return [command for command in COMMANDS if command.split()[0] == program]


@pytest.mark.parametrize("command", of("make"))
def test_every_make_command_is_a_target(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("command", of("linkstatus"))
def test_every_command_is_understood(command: str) -> None:
    words = shlex.split(command)[1:]
    context = get_command(app).make_context("linkstatus", words, resilient_parsing=True)
    group, rest = get_command(app), list(words)
    while hasattr(group, "commands") and not rest[0].startswith("-"):
        name = rest.pop(0)
        assert name in group.commands, command
        group = group.commands[name]
    group.make_context(name, rest, parent=context).close()


def test_every_command_is_documented_and_has_help() -> None:
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f"`linkstatus {name}`" in README, name
        assert command.help, name


def test_the_tables_name_every_provider_and_every_public_topic() -> None:
    for name in PROVIDERS:
        assert f"| `{name}` |" in README
    for topic in all_topics(["{provider}"]):
        assert not topic.public or f"| `{topic.name}` |" in README, topic.name


def names(model: type[BaseModel], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += names(kind, f"{prefix}{name.upper()}__")
        else:
            found.append((prefix, name.upper()))
    return found


def test_the_table_of_settings_names_what_is_read() -> None:
    table = README.split("## Settings")[1].split("##")[0]
    known = {name for _, name in names(type(settings.load()), "LINKSTATUS_")}
    for name in re.findall(r"`(?:LINKSTATUS_[A-Z_{}]*?__|…__|LINKSTATUS_)([A-Z_]+)`", table):
        assert name in known, name


def test_the_table_of_settings_leaves_none_out() -> None:
    table = README.split("## Settings")[1].split("\n## ")[0]
    written: set[str] = set()
    for row in (line for line in table.splitlines() if line.startswith("| `")):
        section = ""
        for name in re.findall(r"`([^`]+)`", row.split("|")[1]):
            if name.startswith("LINKSTATUS_"):
                section = name.rpartition("__")[0]
            written.add(name.replace("…", section, 1))
    any_provider = ("PATH_TOKEN", "ORDER_FROM")
    known = names(type(settings.load()), "LINKSTATUS_")
    assert {
        "LINKSTATUS_{PROVIDER}__" + name if name in any_provider else prefix + name
        for prefix, name in known
    } <= written


def test_the_registration_is_one_and_has_every_column() -> None:
    (body,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert registration(body.encode(), PROVIDERS, 0)["amount_minor"] == 14_000
    assert json.loads(body).keys() == LinkForm.model_fields.keys()


@pytest.mark.parametrize("document", ["README.md", "connectors/README.md"])
def test_every_link_to_a_file_leads_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / document).parent.joinpath(target).exists(), target


@pytest.mark.kafka
def test_the_consumer_in_python_prints_each_close(kafka: Cluster, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?consume\(ORDER_CLOSE.*?)```", README, re.DOTALL)
    close = ORDER_CLOSE.encode(
        {
            "event_id": "one",
            "provider": "ping",
            "order_id": "O1",
            "links": [],
            "total_minor": 1200,
            "currency": "SEK",
            "decided_at": 1,
        }
    )
    write_all(kafka, "order-close", [(b"ping:O1", close)])
    here = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LINKSTATUS_BROKERS": kafka.brokers,
        "LINKSTATUS_TOPIC_PREFIX": kafka.prefix,
    }
    printed = tmp_path / "out"
    running = child.spawn([sys.executable, "-u", "-c", code], printed, here)
    try:
        until_sync(lambda: "O1 1200 SEK" in printed.read_text(), "the close to be printed")
    finally:
        child.stop(running, 10)
