"""README and docs say what the code says."""

import ast
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydantic import BaseModel
from typer.main import get_command

from connectors.board.overview.problems import ANOMALIES
from connectors.kafka.cluster import Cluster
from connectors.providers.base import ProviderConfig
from connectors.providers.registry import PROVIDERS
from schemas import limits
from schemas.codec import ORDER_CLOSE, REFUND
from schemas.link_form import LinkForm, registration
from schemas.records import OrderClose
from schemas.topics import all_topics
from streams import settings
from streams.cli.app import app
from streams.cli.errors import Exit
from streams.local import subprocesses
from tests.project.test_monitoring import ALERTS, import_everything
from tests.support.codecs import CODECS
from tests.support.documents import COMMANDS, GUIDE, PAGES, README, ROOT, blocks, rows, section
from tests.support.reading import write_all
from tests.support.waiting import until_sync


def of(program: str) -> list[str]:
    return [command for command in COMMANDS if command.split()[0] == program]


def test_readme_fits_160_lines() -> None:
    assert len(README.splitlines()) <= 160


@pytest.mark.parametrize("command", of("make"))
def test_every_make_command_is_a_target(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("command", of("linkstatus"))
def test_command_line_accepts_every_command(command: str) -> None:
    words = shlex.split(command)[1:]
    context = get_command(app).make_context("linkstatus", words, resilient_parsing=True)
    group, rest = get_command(app), list(words)
    while hasattr(group, "commands") and not rest[0].startswith("-"):
        name = rest.pop(0)
        assert name in group.commands, command
        group = group.commands[name]
    group.make_context(name, rest, parent=context).close()


def test_every_command_has_documentation_and_help() -> None:
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f"`linkstatus {name}`" in GUIDE, name
        assert command.help, name


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", PAGES[page]):
        path = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)", path.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}
            assert anchor in slugs, f"{target}#{anchor}"


def test_tables_name_every_provider_topic_anomaly_alert_and_exit_code() -> None:
    assert {row[0] for row in rows(section("README.md", "## Providers"))} >= PROVIDERS.keys()
    topics = {row[0] for row in rows(section("docs/topics.md", "## The topics"))}
    assert topics == {"topic", *(t.name for t in all_topics(["{provider}"]) if t.public)}
    kinds = {row[0] for row in rows(section("docs/triage.md", "## Anomalies"))}
    assert kinds == {"kind", *ANOMALIES} - {"UNKNOWN"}
    alerts = [row[:2] for row in rows(section("docs/operating.md", "## Alerts"))[1:]]
    assert alerts == [[alert["alert"], alert["labels"]["severity"]] for alert in ALERTS]
    codes = [row[0] for row in rows(section("docs/operating.md", "## Commands"))[1:]]
    assert codes == [str(int(code)) for code in (0, *Exit)]


def test_table_of_metrics_names_every_metric_with_its_labels() -> None:
    import_everything()
    metrics = {}
    for collector, samples in REGISTRY._collector_to_names.items():
        name = str(getattr(collector, "_name", ""))
        if name.startswith("linkstatus_"):
            name += "_total" if f"{name}_total" in samples else ""
            metrics[name] = ", ".join(getattr(collector, "_labelnames", ()))
    table = rows(section("docs/operating.md", "## Metrics"))[1:]
    assert {name: labels.replace("–", "") for name, labels, _ in table} == metrics


def setting_names(model: type[BaseModel], prefix: str) -> list[tuple[str, str]]:
    """Prefix and name of every setting, as the environment has them."""
    found: list[tuple[str, str]] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += setting_names(kind, f"{prefix}{name.upper()}__")
        else:
            found.append((prefix, name.upper()))
    return found


def test_table_of_settings_names_every_setting() -> None:
    documented: set[str] = set()
    for variables, _ in rows(PAGES["docs/settings.md"])[1:]:
        group = ""
        for name in re.findall(r"(?:LINKSTATUS_|…)[A-Z_{}]+", variables):
            if name.startswith("LINKSTATUS_"):
                group = name.rpartition("__")[0]
            documented.add(name.replace("…", group, 1))
    of_each = tuple(name.upper() for name in ProviderConfig.model_fields)
    assert documented == {
        "LINKSTATUS_{CONNECTION}__" + name if name in of_each else prefix + name
        for prefix, name in setting_names(type(settings.load()), "LINKSTATUS_")
    }


def test_page_of_the_first_provider_has_the_addresses_of_the_code() -> None:
    table = rows(section("docs/first-provider.md", "## 1. Choose the environment"))
    documented = {variable: production for _, variable, _, production in table[1:]}
    assert documented == {
        f"LINKSTATUS_{name.upper()}__{field.upper()}": about.default
        for name, provider in PROVIDERS.items()
        for field, about in provider.Config.model_fields.items()
        if isinstance(about.default, str) and about.default.startswith("https://")
    }


@pytest.mark.parametrize("block", blocks("dotenv"))
def test_settings_of_the_guide_are_accepted(
    block: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text(block.replace("…", "text"))
    chosen = settings.load()
    if "LINKSTATUS_PROVIDERS" in block:
        assert all(provider.can_look_up() for provider in chosen.existing_providers().values())


def test_page_of_limits_names_every_limit_with_its_value() -> None:
    def text(name: str, value: float) -> str:
        if not name.endswith("_BYTES"):
            return str(value) if isinstance(value, int) else f"{value:g}"
        units = {"MiB": limits.MIB, "KiB": limits.KIB, "B": 1}
        unit = next(unit for unit, size in units.items() if value % size == 0)
        return f"{value // units[unit]} {unit}"

    entries = [row for row in rows(PAGES["docs/limits.md"]) if row[0] != "limit"]
    documented = {cells[0].strip("`*"): cells[1] for cells in entries}
    assert len(documented) == len(entries), "a limit stands twice"
    assert documented == {
        name: text(name, value)
        for name, value in vars(limits).items()
        if name.isupper() and name not in ("KIB", "MIB")
    }


def test_registration_example_is_valid_and_has_every_field() -> None:
    (body,) = blocks("json")
    assert registration(LinkForm.model_validate_json(body), PROVIDERS, 0)["amount_minor"] == 14_000
    assert json.loads(body).keys() == LinkForm.model_fields.keys()


@pytest.mark.parametrize(("provider", "most"), [("Peach", 8), ("Ping", 14)])
def test_walk_of_a_callback_names_functions_that_exist(provider: str, most: int) -> None:
    hops = rows(section("docs/architecture.md", f"## The walk of a {provider} callback"))[1:]
    assert [hop[0] for hop in hops] == [str(n) for n in range(1, len(hops) + 1)]
    assert len(hops) <= most
    for _, file, function, _ in hops:
        assert function in functions(ROOT / file), function


def functions(file: Path) -> set[str]:
    """The functions of a module, and its methods as `Class.method`."""
    found = set()
    for node in ast.parse(file.read_text()).body:
        prefix, members = "", [node]
        if isinstance(node, ast.ClassDef):
            prefix, members = f"{node.name}.", node.body
        for member in members:
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(prefix + member.name)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_files_that_exist(page: str) -> None:
    for path in re.findall(r"`((?:connectors|schemas|streams|tests)/[\w/.]+)`", PAGES[page]):
        # `acme` is the provider that the guide invents.
        assert (ROOT / path).exists() or "/acme" in path, path


@pytest.mark.kafka
def test_consumer_program_prints_each_close(kafka: Cluster, tmp_path: Path) -> None:
    (code,) = (block for block in blocks("python") if "consume(ORDER_CLOSE" in block)
    record: OrderClose = {
        "event_id": "one",
        "provider": "ping",
        "order_id": "O1",
        "links": [],
        "total_minor": 1200,
        "currency": "SEK",
        "decided_at": 1,
    }
    close = CODECS.encode(ORDER_CLOSE, record)
    write_all(kafka, "order-close", [(b"ping:O1", close)])
    prints(kafka, tmp_path, code, "O1 1200 SEK")


@pytest.mark.kafka
def test_consumer_program_books_refunds_and_takes_back_returned_ones(
    kafka: Cluster, tmp_path: Path
) -> None:
    (code,) = (block for block in blocks("python") if "consume(REFUNDS" in block)
    link: dict[str, Any] = {"provider": "ping", "link_id": "L1", "order_id": "O1"}
    known = {"refund_id": "r1", "kind": "REFUND", "amount_minor": 500, "currency": "SEK"}
    refund = link | known | dict.fromkeys(("payment_id", "reason", "refunded_minor"))
    refund |= {"disputed_minor": 0, "occurred_at": 1, "at": 1}
    reversal = {"refund_id": "r2", "kind": "CHARGEBACK_REVERSAL", "amount_minor": 100}
    events: list[Any] = [
        refund | {"event_id": "one", "state": "EXECUTED", "net_minor": 700},
        refund | {"event_id": "two", "state": "RETURNED", "net_minor": 1200},
        refund | reversal | {"event_id": "three", "state": "EXECUTED", "net_minor": 1300},
    ]
    records = [(b"ping:L1", CODECS.encode(REFUND, event)) for event in events]
    write_all(kafka, "refunds", records)
    printed = "book r1 500 SEK\nO1 has 700 left\ntake back r1\nO1 has 1200 left\n"
    printed += "receive r2 100 SEK\nO1 has 1300 left\n"
    prints(kafka, tmp_path, code, printed)


def prints(kafka: Cluster, folder: Path, code: str, text: str) -> None:
    """Run a program that consumes, until it has printed a text."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LINKSTATUS_BROKERS": kafka.brokers,
        "LINKSTATUS_TOPIC_PREFIX": kafka.prefix,
    }
    output = folder / "out"
    process = subprocesses.spawn([sys.executable, "-u", "-c", code], output, environment)
    try:
        until_sync(lambda: text in output.read_text(), f"the program to print {text!r}")
    finally:
        subprocesses.stop(process, 10)
