"""The settings, from the environment (`LINKSTATUS_…`, nested with `__`) and a `.env` file.

No other module reads the environment but `streams.kafka_settings`, for a consumer.
"""

from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from connectors.http.protocol import HttpLimits
from connectors.http.server import Address
from connectors.providers.base import Provider, ProviderConfig
from connectors.providers.registry import (
    DEFAULT_CONNECTIONS,
    PROVIDERS,
    Connections,
    check_connection,
)
from schemas import limits
from streams import environment
from streams.environment import BadSettings
from streams.kafka_settings import KafkaSettings
from streams.notify_section import Notify
from streams.sections import (
    Board,
    Http,
    Lookups,
    Polling,
    Sandbox,
    Section,
    Tracing,
    Waiting,
)


class Connected(Section):
    """Further accounts at the providers: the provider of each, by the connection's name."""

    connections: dict[str, str] = Field(default_factory=dict)

    @field_validator("connections")
    @classmethod
    def _can_be(cls, connections: dict[str, str]) -> dict[str, str]:
        for name, provider in connections.items():
            check_connection(name, provider)
            # Each becomes the name of a section.
            if name in Settings.model_fields or hasattr(Settings, name):
                raise ValueError(f"the name {name!r} is reserved; choose another")
        return connections


class Settings(Connected, KafkaSettings):
    """All settings; each connection adds a section of its provider's class."""

    partitions: int = Field(default=8, ge=1, le=1000)
    replication: int = Field(default=1, ge=1, le=10)
    data_dir: Path = Path(".linkstatus")
    database_url: str | None = None
    instance: str | None = None
    # Threads that share a worker's partitions: one works while another commits.
    stage_threads: int = Field(default=2, ge=1, le=16)
    stall_seconds: float = Field(default=limits.STALL_SECONDS, gt=0)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    # Default: where this machine reaches HTTP__HOST and HTTP__PORT.
    edge_url: str = Field(default="", pattern=r"^https?://[^\s/]\S*$")
    # The connections that exist, separated by commas: no part of an installation has another one.
    providers: str | None = None
    settle: bool = True
    settle_fast_forward: bool = False
    http: Http = Http()
    board: Board = Board()
    lookups: Lookups = Lookups()
    notify: Notify = Notify()
    polling: Polling = Polling()
    waiting: Waiting = Waiting()
    tracing: Tracing = Tracing()
    sandbox: Sandbox = Sandbox()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self.edge_url = self.edge_url or self.address().url
        return self

    def provider_config(self, name: str) -> ProviderConfig:
        config: ProviderConfig = getattr(self, name)
        return config

    @field_validator("providers")
    @classmethod
    def _are_known(cls, names: str | None, info: ValidationInfo) -> str | None:
        known = {**DEFAULT_CONNECTIONS, **info.data.get("connections", {})}
        unknown = [name for name in _split(names or "") if name not in known]
        if unknown or (names is not None and not _split(names)):
            what = f"unknown provider {unknown[0]!r}" if unknown else "names no provider"
            raise ValueError(f"{what}; name some of {', '.join(known)}, separated by commas")
        return names

    def known_connections(self) -> Connections:
        """Return all connections that PROVIDERS admits, whether or not they are set up."""
        known = {**DEFAULT_CONNECTIONS, **self.connections}
        admitted = known if self.providers is None else _split(self.providers)
        return {name: kind for name, kind in known.items() if name in admitted}

    def provider_names(self) -> tuple[str, ...]:
        """Return the names of the connections that exist: as set, else those with settings of their
        own and those in CONNECTIONS, else all (for the sandbox).
        """
        known = tuple(self.known_connections())
        if self.providers is not None:
            return known
        set_up = (
            name
            for name in known
            if name in self.connections or self.provider_config(name).model_fields_set
        )
        return tuple(set_up) or known

    def existing_providers(self) -> dict[str, Provider]:
        """Return an instance of every connection that exists, by name."""
        kinds = self.known_connections()
        return {
            name: PROVIDERS[kinds[name]](self.provider_config(name), name)
            for name in self.provider_names()
        }

    def address(self) -> Address:
        http = self.http
        limits = http.connections, http.head_seconds, http.body_seconds, http.idle_seconds
        return Address(http.host, http.port, HttpLimits(*limits))

    def sandbox_address(self) -> Address:
        return Address(self.sandbox.host, self.sandbox.port)

    def board_url(self) -> str:
        """Return where the commands find the board."""
        return self.board.url or self.edge_url

    def database(self) -> str:
        """Return the SQLAlchemy URL of the board's database."""
        return self.database_url or f"sqlite:///{self.data_dir / 'board.sqlite'}"


def _split(names: str) -> list[str]:
    return [name for part in names.split(",") if (name := part.strip())]


@lru_cache
def _with_sections(further: tuple[tuple[str, str], ...]) -> type[Settings]:
    """Return the settings with a section for each connection; `further`: names and providers."""
    kinds = {**DEFAULT_CONNECTIONS, **dict(further)}
    configs = {name: PROVIDERS[kind].Config for name, kind in kinds.items()}
    sections: dict[str, Any] = {
        name: (config, Field(default_factory=config)) for name, config in configs.items()
    }
    return create_model("Settings", __base__=Settings, **sections)


def load(defaults: Mapping[str, str] | None = None, /, **overrides: Any) -> Settings:
    """Return the settings. `overrides` win over the environment; `defaults` are variables for what
    the environment does not set, and win over the `.env` file. Raises BadSettings.
    """
    kind = _with_sections(())
    try:
        # Each connection has a section, so that their names are needed first.
        connected = Connected(connections=_values(Connected, defaults, overrides)["connections"])
        kind = _with_sections(tuple(connected.connections.items()))
        return kind(**_values(kind, defaults, overrides))
    except ValidationError as error:
        raise environment.refusal(error, partial(_advice, kind)) from None
    except ValueError as error:
        raise BadSettings(str(error)) from None


def _values(
    kind: type[Section], defaults: Mapping[str, str] | None, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    values = {"connections": {}} | environment.Source(kind, defaults or {})()
    for name, value in overrides.items():
        both = isinstance(value, dict) and isinstance(values.get(name), dict)
        values[name] = values[name] | value if both else value
    return values


def _advice(kind: type[Settings], name: str) -> str:
    """Name the nearest setting, and the one that is missing if the name is of an account."""
    advice = environment.nearest(kind, name)
    section, _, field = name.lower().partition("__")
    if any(field in provider.Config.model_fields for provider in PROVIDERS.values()):
        advice += f"; {environment.PREFIX}CONNECTIONS__{section.upper()} makes it an account"
    return advice
