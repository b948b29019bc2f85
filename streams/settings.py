"""The settings: the only reader of the environment (`LINKSTATUS_…`, nested with `__`, or a `.env`
file).
"""

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    HttpUrl,
    SecretStr,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.kafka import Cluster
from connectors.process import Address
from connectors.provider import Provider, ProviderConfig
from connectors.registry import PROVIDERS


class BadSettings(Exception):
    """A setting is wrong or missing; the message names each one as it is written in the
    environment.
    """


class Security(BaseModel):
    """How the cluster is reached; passed to every Kafka client."""

    # A wrong value shows at the start, and not in a client's fifth attempt.
    model_config = ConfigDict(extra="forbid")

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca: FilePath | None = None
    ssl_certificate: FilePath | None = None
    ssl_key: FilePath | None = None
    ssl_key_password: SecretStr | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """What belongs together is set together, and nothing that the protocol does not use."""
        sasl = ["sasl_mechanism", "sasl_username", "sasl_password"]
        tls = ["ssl_ca", "ssl_certificate", "ssl_key", "ssl_key_password"]
        if self.protocol.startswith("SASL"):
            self._require(sasl, f"{self.protocol} needs it")
        else:
            self._refuse(sasl)
        if not self.protocol.endswith("SSL"):
            self._refuse(tls)
        if self.ssl_certificate or self.ssl_key:
            self._require(["ssl_certificate", "ssl_key"], "a certificate and its key go together")
        return self

    def _require(self, names: Iterable[str], why: str) -> None:
        if missing := [name for name in names if getattr(self, name) is None]:
            raise ValueError(f"{_named(missing)} not set: {why}")

    def _refuse(self, names: Iterable[str]) -> None:
        if unused := [name for name in names if getattr(self, name) is not None]:
            raise ValueError(
                f"{_named(unused)} is set, but LINKSTATUS_SECURITY__PROTOCOL is {self.protocol}"
            )

    def environment(self) -> dict[str, str]:
        """These settings as the environment of another process; it holds secrets."""
        given = self.model_dump(exclude_none=True, exclude_defaults=True)
        return {
            f"LINKSTATUS_SECURITY__{name.upper()}": (
                value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            )
            for name, value in given.items()
        }


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"LINKSTATUS_SECURITY__{name.upper()}" for name in names)


class Http(BaseModel):
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)


class Board(BaseModel):
    """`processes` are those whose health the page shows: name to address, as http://host:port.
    `url` is where commands ask it, if not where the edge is.
    """

    url: str | None = Field(default=None, pattern=r"^https?://[^\s/]\S*$")
    token: SecretStr | None = None
    processes: dict[str, HttpUrl] = {}


class Sandbox(BaseModel):
    """The simulated providers: where they listen and are called, and by what the waits between
    their deliveries are divided.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8090, ge=0, le=65535)
    speed: float = Field(default=60.0, gt=0)
    # Somebody else's receiver, to be called instead of the edge; `{provider}` in it is replaced.
    callback_url: str | None = Field(default=None, pattern=r"^https?://[^\s/]\S*$")


class Lookups(BaseModel):
    """Limits on what we ask of the providers."""

    per_second: float = Field(default=20.0, gt=0)
    unissued_per_minute: float = Field(default=120.0, gt=0)
    timeout_seconds: float = Field(default=10.0, gt=0)


class Polling(BaseModel):
    """When links that stay silent are looked up again, in seconds."""

    first_seconds: float = Field(default=60.0, gt=0)
    longest_seconds: float = Field(default=86_400.0, gt=0)


class Tracing(BaseModel):
    """Where spans go (OTLP over HTTP, such as http://collector:4318), and of which share of the
    callbacks.
    """

    endpoint: str | None = Field(default=None, pattern=r"^https?://")
    ratio: float = Field(default=1.0, ge=0, le=1)


class Settings(BaseSettings):
    """All settings, with one section for each provider, of the class the provider declares."""

    model_config = SettingsConfigDict(
        env_prefix="LINKSTATUS_", env_nested_delimiter="__", env_file=".env", extra="ignore"
    )

    brokers: str | None = None
    security: Security = Security()
    topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,100}$")
    partitions: int = Field(default=8, ge=1, le=1000)
    replication: int = Field(default=1, ge=1, le=10)
    schema_registry_url: str | None = None
    data_dir: Path = Path(".linkstatus")
    database_url: str | None = None
    instance: str | None = None
    stall_seconds: float = Field(default=120.0, gt=0)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    edge_url: str = "http://127.0.0.1:8080"
    settle: bool = True
    settle_fast_forward: bool = False
    http: Http = Http()
    board: Board = Board()
    lookups: Lookups = Lookups()
    polling: Polling = Polling()
    tracing: Tracing = Tracing()
    sandbox: Sandbox = Sandbox()

    def provider_config(self, name: str) -> ProviderConfig:
        config: ProviderConfig = getattr(self, name)
        return config

    def providers(self) -> dict[str, Provider]:
        """An instance of every provider, by name."""
        return {name: kind(self.provider_config(name)) for name, kind in PROVIDERS.items()}

    def cluster(self) -> Cluster:
        """The cluster to talk to. Raises BadSettings when no brokers are set: `up` sets them for
        the embedded one.
        """
        if not self.brokers:
            raise BadSettings(
                "LINKSTATUS_BROKERS is not set; `linkstatus up` runs an embedded broker"
            )
        s = self.security
        return Cluster(
            brokers=self.brokers,
            prefix=self.topic_prefix,
            protocol=s.protocol,
            sasl_mechanism=s.sasl_mechanism,
            sasl_username=s.sasl_username,
            sasl_password=_revealed(s.sasl_password),
            ssl_ca=_as_text(s.ssl_ca),
            ssl_certificate=_as_text(s.ssl_certificate),
            ssl_key=_as_text(s.ssl_key),
            ssl_key_password=_revealed(s.ssl_key_password),
        )

    def address(self) -> Address:
        return Address(self.http.host, self.http.port)

    def board_url(self) -> str:
        """Where commands ask the board."""
        return self.board.url or self.edge_url

    def database(self) -> str:
        """SQLAlchemy URL of the board's store."""
        return self.database_url or f"sqlite:///{self.data_dir / 'board.sqlite'}"

    def instance_host(self) -> str:
        return self.instance or socket.gethostname()


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _as_text(file: Path | None) -> str | None:
    return str(file.resolve()) if file else None


def _with_providers() -> type[Settings]:
    sections: dict[str, Any] = {
        name: (kind.Config, Field(default_factory=kind.Config)) for name, kind in PROVIDERS.items()
    }
    return create_model("Settings", __base__=Settings, **sections)


_Settings = _with_providers()


def load(**overrides: Any) -> Settings:
    """The settings from the environment and `.env`. Raises BadSettings naming what is wrong."""
    try:
        return _Settings(**overrides)
    except ValidationError as error:
        lines = [
            f"LINKSTATUS_{'__'.join(str(part) for part in e['loc']).upper()}: "
            f"{e['msg'].removeprefix('Value error, ')}"
            for e in error.errors(include_input=False, include_url=False)
        ]
        raise BadSettings("\n".join(lines)) from None
