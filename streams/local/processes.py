"""The processes that `linkstatus up` runs, and their settings."""

import json
import sys
from collections import ChainMap
from dataclasses import dataclass

from connectors.http.server import Address
from connectors.kafka.cluster import Cluster
from connectors.providers.base import ProviderConfig
from streams import wiring
from streams.local import data_folder
from streams.local.subprocesses import Ports
from streams.local.supervisor import Child
from streams.settings import Settings

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Plan:
    """All children share `environment`; `simulated` are the connections to the sandbox."""

    environment: dict[str, str]
    children: list[Child]
    simulated: list[str]

    def url(self, name: str) -> str:
        """Return where a child serves its probes."""
        return next(child.address.url for child in self.children if child.name == name)


def plan(settings: Settings, cluster: Cluster, with_sandbox: bool, ports: Ports) -> Plan:
    """Give each process its own port, and all of them the same settings."""
    sandbox = settings.sandbox
    sandbox.port = ports.free(sandbox.port, sandbox.host)
    settings.edge_url = settings.address().url
    simulated = _without_credentials(settings) if with_sandbox else []
    optional = {
        "settle": settings.settle,
        "notify": bool(settings.notify.endpoints),
        "sandbox": with_sandbox,
    }
    names = ["web", "work", "lookup", *(name for name, runs in optional.items() if runs)]
    # Only the web process and the sandbox serve others; the rest serve probes on this machine.
    fixed = {
        "web": Address(settings.http.host, settings.http.port),
        "sandbox": settings.sandbox_address(),
    }
    addresses = {name: fixed.get(name) or Address(_LOOPBACK, ports.free()) for name in names}
    environment = {
        "LINKSTATUS_BROKERS": cluster.brokers,
        # Commands in other terminals do not have this terminal's environment.
        **settings.security.environment(),
        "LINKSTATUS_DATA_DIR": str(settings.data_dir),
        "LINKSTATUS_CONNECTIONS": json.dumps(settings.connections),
        "LINKSTATUS_PROVIDERS": ",".join(settings.provider_names()),
        "LINKSTATUS_EDGE_URL": settings.edge_url,
        "LINKSTATUS_SANDBOX__HOST": sandbox.host,
        "LINKSTATUS_SANDBOX__PORT": str(sandbox.port),
        # Here the board has the edge's address, even if a `.env` file has another one.
        **({"LINKSTATUS_BOARD__URL": settings.edge_url} if settings.board.url else {}),
        "LINKSTATUS_BOARD__TOKEN": _token(settings),
        "LINKSTATUS_BOARD__PROCESSES": json.dumps(
            {name: address.url for name, address in addresses.items()}
        ),
        **wiring.sandbox_environment(settings, simulated),
        **_fast_polling(settings, simulated),
    }
    children = [_child(name, address, settings, environment) for name, address in addresses.items()]
    return Plan(environment, children, simulated)


def _fast_polling(settings: Settings, simulated: list[str]) -> dict[str, str]:
    """Simulated links live for seconds, so the first poll comes after seconds, too."""
    if not simulated or "first_seconds" in settings.polling.model_fields_set:
        return {}
    return {"LINKSTATUS_POLLING__FIRST_SECONDS": "5"}


def _child(name: str, address: Address, settings: Settings, environment: dict[str, str]) -> Child:
    own = {"LINKSTATUS_HTTP__HOST": address.host, "LINKSTATUS_HTTP__PORT": str(address.port)}
    logs = settings.data_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "streams.cli", name]
    return Child(name, argv, ChainMap(own, environment), address, logs / f"{name}.log")


def _token(settings: Settings) -> str:
    token = settings.board.token
    return token.get_secret_value() if token else data_folder.board_token(settings.data_dir)


def _without_credentials(settings: Settings) -> list[str]:
    """The connections without any setting that comes from the real provider."""
    return [
        name
        for name in settings.provider_names()
        if settings.provider_config(name).model_fields_set <= ProviderConfig.model_fields.keys()
    ]
