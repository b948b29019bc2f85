"""The sandbox's settings: its address, its accounts, the URLs that it calls, and its generated
secrets.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from connectors.http.server import Address
from connectors.providers.registry import DEFAULT_CONNECTIONS, PROVIDERS, Connections
from connectors.providers.simulator import Simulator, Site


def simulator_of(provider: str) -> type[Simulator]:
    """Return the simulator in the provider's folder."""
    module = import_module(f"{PROVIDERS[provider].__module__}.sandbox")
    simulator: type[Simulator] = module.Sandbox
    return simulator


# Keys and ids of the simulated merchant accounts, by connection.
Secrets = Mapping[str, Mapping[str, str]]


def load_secrets(data_dir: Path, connections: Connections = DEFAULT_CONNECTIONS) -> Secrets:
    """Return the secrets of these accounts, also to several processes at once. Missing ones are
    generated and stored, readable by the owner.
    """
    folder = data_dir / "sandbox"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "secrets.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _load_or_generate(folder / "secrets.json", connections)


def _load_or_generate(path: Path, connections: Connections) -> dict[str, dict[str, str]]:
    secrets: dict[str, dict[str, str]] = json.loads(path.read_bytes()) if path.exists() else {}
    missing = {name: kind for name, kind in connections.items() if name not in secrets}
    if missing:
        secrets |= {name: simulator_of(kind).generate_secrets() for name, kind in missing.items()}
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(secrets, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    return secrets


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """What the sandbox needs to run, and what `linkstatus send` needs to sign like it.

    `speed` divides the pauses between deliveries and between confirmations. `connections` are the
    simulated accounts, `path_tokens` the secret parts of their callback URLs. `callback_url`
    replaces the edge with another receiver; `{provider}` in it stands for the connection's name.
    """

    address: Address
    data_dir: Path
    edge_url: str
    secrets: Secrets = field(repr=False)
    speed: float = 60.0
    path_tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    callback_url: str | None = None
    connections: Connections = field(default_factory=lambda: DEFAULT_CONNECTIONS)

    @property
    def base_url(self) -> str:
        return self.address.url

    def simulator(self, name: str) -> type[Simulator]:
        """Return the simulator of a connection's provider."""
        return simulator_of(self.connections[name])

    def site(self, name: str) -> Site:
        """Return the connection's URLs and secrets in this sandbox."""
        api_url = f"{self.base_url}/{name}"
        return Site(api_url, self._callback_url(name), self.secrets[name], self.speed)

    def _callback_url(self, name: str) -> str:
        if self.callback_url is not None:
            return self.callback_url.replace("{provider}", name)
        token = self.path_tokens.get(name)
        return f"{self.edge_url.rstrip('/')}/callbacks/{name}" + (f"/{token}" if token else "")


def signing_as_configured(config: SandboxConfig, name: str, settings: Any) -> SandboxConfig:
    """Return the sandbox with the secrets in the connection's settings, where they have any."""
    own = config.simulator(name).signing_secrets(settings)
    merged = {**config.secrets[name], **own}
    return replace(config, secrets={**config.secrets, name: merged})


def sandbox_environment(config: SandboxConfig, names: Iterable[str]) -> dict[str, str]:
    """Return the variables that point these connections at this sandbox instead of providers."""
    return {
        f"LINKSTATUS_{name.upper()}__{setting}": value
        for name in names
        for setting, value in config.simulator(name).environment(config.site(name)).items()
    }
