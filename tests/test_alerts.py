"""The alerts as Prometheus itself takes them: its own checks, and what each alert says when."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from tests import debian
from tests.test_operating import ALERTS, DASHBOARD, OPERATING, ROOT, import_everything

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def promtool() -> str:
    """The one on the path, or else out of Debian's package, kept for the next time."""
    if found := shutil.which("promtool"):
        return found
    kept = Path.home() / ".cache" / "linkstatus" / "promtool"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as draft:
            try:
                debian.unpack(Path(draft) / "package", "prometheus")
            except debian.NotToBeHad as error:
                pytest.skip(f"no promtool on the path, and {error}")
            (Path(draft) / "package/usr/bin/promtool").rename(kept)
    return str(kept)


def told(*command: str, given: bytes = b"") -> str:
    """What it says, which must be nothing bad."""
    ran = subprocess.run(command, input=given, capture_output=True, timeout=60, cwd=ROOT)
    said = (ran.stdout + ran.stderr).decode()
    assert ran.returncode == 0, said
    return said


def test_prometheus_takes_its_configuration_and_the_rules(promtool: str) -> None:
    said = told(promtool, "check", "config", str(OPERATING / "prometheus.yml"))
    assert f"{len(ALERTS)} rules found" in said


def test_each_alert_speaks_when_it_should_and_not_before(promtool: str) -> None:
    cases = ROOT / "tests/alerts.yml"
    assert all(f"alertname: {alert['alert']}\n" in cases.read_text() for alert in ALERTS)
    told(promtool, "test", "rules", str(cases))


def test_prometheus_takes_what_the_panels_ask(promtool: str, tmp_path: Path) -> None:
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    rules = "".join(f"  - {{record: r{n}, expr: '{expr}'}}\n" for n, expr in enumerate(asked))
    (tmp_path / "panels.yml").write_text(f"groups:\n- name: panels\n  rules:\n{rules}")
    told(promtool, "check", "rules", str(tmp_path / "panels.yml"))


def test_our_metrics_keep_the_conventions(promtool: str) -> None:
    import_everything()
    ours = [
        line
        for line in generate_latest().decode().splitlines()
        if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith("linkstatus_")
        # Beside each counter the client tells when it began, as a gauge.
        and "_created" not in line
    ]
    assert told(promtool, "check", "metrics", given="\n".join([*ours, ""]).encode()) == ""
