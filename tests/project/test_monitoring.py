"""Metrics, alerts and dashboard agree, and Prometheus itself accepts them."""

import importlib
import json
import pkgutil
import re
import shutil
from pathlib import Path

import promql_parser
import pytest
import yaml
from prometheus_client import REGISTRY, generate_latest

import connectors
import streams
from tests.support import debian
from tests.support.documents import ROOT
from tests.support.processes import run

MONITORING = ROOT / "streams" / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana/dashboards/linkstatus.json").read_text())
ALERTS = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS = [*PANELS, *(alert["expr"] for alert in ALERTS)]


def import_everything() -> None:
    """Import every module: a metric exists once its module does."""
    for package in (connectors, streams):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "__main__" not in module.name and module.name != "streams.app":
                importlib.import_module(module.name)


@pytest.fixture(scope="module")
def metrics() -> dict[str, set[str]]:
    """Return every metric of ours as Prometheus names its samples, with its labels."""
    import_everything()
    found: dict[str, set[str]] = {}
    for collector, names in REGISTRY._collector_to_names.items():
        labels = set(getattr(collector, "_labelnames", ())) | {"le", "process"}
        found |= {name: labels for name in names if name.startswith("linkstatus_")}
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_use_metrics_and_labels_that_exist(
    expression: str, metrics: dict[str, set[str]]
) -> None:
    for name, labels in series_of(expression):
        assert name in metrics or name == "up", name
        known = metrics.get(name, {"job", "process"})
        assert labels <= known, f"{name} has no {labels - known}"


def series_of(expression: str) -> list[tuple[str, set[str]]]:
    """Return the series of an expression, each with the labels that it must have."""
    found: list[tuple[str, set[str]]] = []
    grouped: set[str] = set()

    def visit(part: promql_parser.Expr) -> None:
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier:
            grouped.update(part.modifier.labels)
        if isinstance(part, promql_parser.Call) and part.func.name in ("rate", "increase"):
            (counter,) = part.args
            # They take a decrease for a restart, so they are wrong for gauges.
            assert re.search("_(total|bucket|count|sum)$", counter.vector_selector.name)
        if isinstance(part, promql_parser.VectorSelector):
            found.append((part.name or "", {matcher.name for matcher in part.matchers.matchers}))

    promql_parser.walk(promql_parser.parse(expression), visit)
    assert found, expression
    return [(name, labels | grouped) for name, labels in found]


def test_dashboard_shows_the_main_metrics(metrics: dict[str, set[str]]) -> None:
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
        assert name in " ".join(PANELS)


def test_every_alert_says_what_to_do() -> None:
    for alert in ALERTS:
        assert alert["annotations"]["summary"]
        assert len(alert["annotations"]["description"]) > 20
        assert alert["labels"]["severity"] in ("page", "ticket")


@pytest.fixture(scope="module")
def promtool() -> str:
    """Return promtool's path: the installed one, else the one in Debian's package."""
    if installed := shutil.which("promtool"):
        return installed
    package = debian.cached("prometheus", lambda folder: debian.unpack(folder, "prometheus"))
    return str(package / "usr/bin/promtool")


@pytest.mark.slow
def test_prometheus_accepts_configuration_and_rules(promtool: str) -> None:
    ended = run(promtool, "check", "config", MONITORING / "prometheus.yml")
    assert f"{len(ALERTS)} rules found" in ended.stdout + ended.stderr


@pytest.mark.slow
def test_every_alert_fires_when_it_should_and_not_before(promtool: str) -> None:
    cases = ROOT / "tests/project/alerts.yml"
    assert all(f"alertname: {alert['alert']}\n" in cases.read_text() for alert in ALERTS)
    run(promtool, "test", "rules", cases)


@pytest.mark.slow
def test_prometheus_accepts_the_panels(promtool: str, tmp_path: Path) -> None:
    rules = "".join(f"  - {{record: r{n}, expr: '{expr}'}}\n" for n, expr in enumerate(PANELS))
    (tmp_path / "panels.yml").write_text(f"groups:\n- name: panels\n  rules:\n{rules}")
    run(promtool, "check", "rules", tmp_path / "panels.yml")


@pytest.mark.slow
def test_metrics_follow_the_naming_conventions(promtool: str) -> None:
    import_everything()
    ours = [
        line
        for line in generate_latest().decode().splitlines()
        if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith("linkstatus_")
        # The client adds a gauge with the creation time to each counter.
        and "_created" not in line
    ]
    ended = run(promtool, "check", "metrics", input="\n".join([*ours, ""]))
    assert ended.stdout + ended.stderr == ""
