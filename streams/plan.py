"""What `linkstatus up` will run, and with which settings."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from connectors.kafka import Cluster
from connectors.registry import PROVIDERS
from streams import child, running, wiring
from streams.settings import Settings
from streams.supervisor import Child


@dataclass(frozen=True, slots=True)
class Plan:
    """`environment` is what all children share; `simulated` are the sandbox's providers."""

    environment: Mapping[str, str]
    children: list[Child]
    simulated: list[str]

    def port(self, name: str) -> int:
        """Where that child serves its probes."""
        return next(one.port for one in self.children if one.name == name)


def plan(settings: Settings, cluster: Cluster, with_sandbox: bool) -> Plan:
    """Gives each process a port of its own and all of them the same settings."""
    settings.sandbox.port = child.free_port(settings.sandbox.port)
    settings.edge_url = f"http://127.0.0.1:{settings.http.port}"
    simulated = _without_credentials(settings) if with_sandbox else []
    wanted = {"web": True, "work": True, "lookup": True, "settle": settings.settle}
    names = [name for name, runs in {**wanted, "sandbox": with_sandbox}.items() if runs]
    fixed = {"web": settings.http.port, "sandbox": settings.sandbox.port}
    ports = {name: fixed.get(name) or child.free_port() for name in names}
    environment = {
        "LINKSTATUS_BROKERS": cluster.brokers,
        # For the commands in other terminals: those have not the environment of this one.
        **settings.security.environment(),
        "LINKSTATUS_DATA_DIR": str(settings.data_dir),
        "LINKSTATUS_EDGE_URL": settings.edge_url,
        "LINKSTATUS_SANDBOX__PORT": str(settings.sandbox.port),
        # Here the board is where the edge is, even if a `.env` file says otherwise.
        **({"LINKSTATUS_BOARD__URL": settings.edge_url} if settings.board.url else {}),
        "LINKSTATUS_BOARD__TOKEN": _token(settings),
        "LINKSTATUS_BOARD__PROCESSES": json.dumps(
            {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        ),
        **wiring.sandbox_environment(settings, simulated),
        **_impatience(settings, simulated),
    }
    children = [_child(name, port, settings, environment) for name, port in ports.items()]
    return Plan(environment, children, simulated)


def _impatience(settings: Settings, simulated: list[str]) -> dict[str, str]:
    """Simulated lives last seconds: silent links are then looked up after seconds, too."""
    if not simulated or "first_seconds" in settings.polling.model_fields_set:
        return {}
    return {"LINKSTATUS_POLLING__FIRST_SECONDS": "5"}


def _child(name: str, port: int, settings: Settings, environment: Mapping[str, str]) -> Child:
    # Only the web process is for others; the rest serves its probes to this machine alone.
    host = settings.http.host if name == "web" else "127.0.0.1"
    own = {"LINKSTATUS_HTTP__HOST": host, "LINKSTATUS_HTTP__PORT": str(port)}
    logs = settings.data_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "streams.cli", name]
    return Child(name, argv, {**environment, **own}, port, logs / f"{name}.log")


def _token(settings: Settings) -> str:
    given = settings.board.token
    return given.get_secret_value() if given else running.board_token(settings.data_dir)


def _without_credentials(settings: Settings) -> list[str]:
    """The providers of which nothing is set that only the real one could have said."""
    return [
        name
        for name, kind in PROVIDERS.items()
        if not settings.provider_config(name).model_fields_set - {"path_token", "order_from"}
    ]
