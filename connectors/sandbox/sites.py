"""Where the sandbox lives, whom it calls, and its secrets, made once and kept with the data."""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from connectors.process import Address
from connectors.registry import PROVIDERS
from connectors.sandbox.simulator import Simulator, Site


def sandbox_of(provider: str) -> type[Simulator]:
    """The simulator in the provider's folder."""
    module = import_module(f"{PROVIDERS[provider].__module__}.sandbox")
    sandbox: type[Simulator] = module.Sandbox
    return sandbox


@dataclass(frozen=True, slots=True)
class Secrets:
    """Keys and ids of the simulated merchant accounts, by provider."""

    by_provider: Mapping[str, Mapping[str, str]] = field(repr=False)


def load_secrets(data_dir: Path) -> Secrets:
    """The sandbox's secrets; what is missing is made and kept, readable to the owner alone.

    Safe when several processes do it at once: all get the same.
    """
    folder = data_dir / "sandbox"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "secrets.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return Secrets(_completed(folder / "secrets.json"))


def _completed(path: Path) -> dict[str, dict[str, str]]:
    known: dict[str, dict[str, str]] = json.loads(path.read_bytes()) if path.exists() else {}
    missing = [name for name in PROVIDERS if name not in known]
    if missing:
        known |= {name: sandbox_of(name).generate_secrets() for name in missing}
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w") as out:
            json.dump(known, out)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(path)
    return known


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """What the sandbox needs to run, and `send` to sign as it does.

    `speed` divides the waits between deliveries and between confirmations. `path_tokens` are the
    secret parts of the callback URLs, by provider. `callback_url` is where somebody else's receiver
    is called instead of the edge; `{provider}` in it stands for the provider's name.
    """

    address: Address
    data_dir: Path
    edge_url: str
    secrets: Secrets
    speed: float = 60.0
    path_tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    callback_url: str | None = None

    @property
    def base_url(self) -> str:
        return f"http://{self.address.host}:{self.address.port}"

    def site(self, provider: str) -> Site:
        """The provider's place in this sandbox."""
        secrets = self.secrets.by_provider[provider]
        return Site(self.base_url, self._callback_url(provider), secrets, self.speed)

    def _callback_url(self, provider: str) -> str:
        if self.callback_url is not None:
            return self.callback_url.replace("{provider}", provider)
        token = self.path_tokens.get(provider)
        return f"{self.edge_url.rstrip('/')}/callbacks/{provider}" + (f"/{token}" if token else "")


def signing_as_configured(config: SandboxConfig, provider: str, settings: Any) -> SandboxConfig:
    """The sandbox with the secrets the pipeline has for this provider, where it has its own."""
    known = config.secrets.by_provider
    own = {**known[provider], **sandbox_of(provider).signing(settings)}
    return replace(config, secrets=Secrets({**known, provider: own}))


def sandbox_environment(config: SandboxConfig, providers: Iterable[str]) -> dict[str, str]:
    """The variables that point a pipeline at this sandbox instead of these providers."""
    return {
        f"LINKSTATUS_{name.upper()}__{setting}": value
        for name in providers
        for setting, value in sandbox_of(name).environment(config.site(name)).items()
    }
