"""The sections of the settings that belong to no connection."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    HttpUrl,
    SecretStr,
    model_validator,
)

from connectors.board.database.waiting import PATIENCE, Party
from schemas import limits


class Section(BaseModel):
    # An infinite number would take a limit away.
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Security(Section):
    """How every Kafka client connects to the cluster."""

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
        """Check that the protocol has all the settings that it needs, and no others."""
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

    def _require(self, names: Iterable[str], reason: str) -> None:
        if missing := [name for name in names if getattr(self, name) is None]:
            raise ValueError(f"{_variables(missing)} not set: {reason}")

    def _refuse(self, names: Iterable[str]) -> None:
        if unused := [name for name in names if getattr(self, name) is not None]:
            raise ValueError(
                f"{_variables(unused)} is set, but LINKSTATUS_SECURITY__PROTOCOL is {self.protocol}"
            )

    def texts(self) -> dict[str, Any]:
        """Return the values that are set, as text; they contain secrets."""
        return {name: _text(value) for name, value in self if value is not None}

    def environment(self) -> dict[str, str]:
        """Return these settings as the environment of a child process; it contains secrets."""
        return {_variables([name]): text for name, text in self.texts().items()}


def _text(value: str | SecretStr | Path) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value.resolve() if isinstance(value, Path) else value)


def _variables(names: Iterable[str]) -> str:
    return ", ".join(f"LINKSTATUS_SECURITY__{name.upper()}" for name in names)


# An address or a name; an IPv6 address with or without brackets.
Host = Annotated[
    str, Field(pattern=r"^[\w.:%\[\]-]*$"), AfterValidator(lambda host: host.strip("[]"))
]


class Http(Section):
    """Where a process listens, and the limits of its connections (see `schemas.limits`)."""

    host: Host = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    connections: int = Field(default=limits.CONNECTIONS, ge=10)
    head_seconds: float = Field(default=limits.HEAD_SECONDS, gt=0)
    body_seconds: float = Field(default=limits.BODY_SECONDS, gt=0)
    idle_seconds: float = Field(default=limits.IDLE_SECONDS, gt=0)


class Board(Section):
    """`processes` maps names to addresses (http://host:port): the page shows their health. `url` is
    where the commands find the board, if it does not run with the edge. `event_days` is how long
    its database keeps events; not set: for ever.
    """

    url: str | None = Field(default=None, pattern=r"^https?://[^\s/]\S*$")
    token: SecretStr | None = None
    processes: dict[str, HttpUrl] = {}
    event_days: int | None = Field(default=None, ge=1)


class Sandbox(Section):
    """The simulated providers: their address, and the divisor of the pauses between deliveries."""

    host: Host = "127.0.0.1"
    port: int = Field(default=8090, ge=0, le=65535)
    speed: float = Field(default=60.0, gt=0)
    # A receiver that gets the callbacks instead of the edge; `{provider}` stands for the name.
    callback_url: str | None = Field(default=None, pattern=r"^https?://[^\s/]\S*$")


class Lookups(Section):
    """Limits on the calls to the providers, and how long a close waits for the amounts that it has
    asked for.
    """

    per_second: float = Field(default=20.0, gt=0)
    unissued_per_minute: float = Field(default=120.0, gt=0)
    timeout_seconds: float = Field(default=10.0, gt=0)
    details_seconds: float = Field(default=limits.DETAILS_SECONDS, gt=0)


class Waiting(Section):
    """How long an order may wait before that is a problem, in seconds, by whom it waits for."""

    person_seconds: float = Field(default=PATIENCE["person"], gt=0)
    provider_seconds: float = Field(default=PATIENCE["provider"], gt=0)
    service_seconds: float = Field(default=PATIENCE["service"], gt=0)

    def patience(self) -> Mapping[Party, float]:
        return {
            "person": self.person_seconds,
            "provider": self.provider_seconds,
            "service": self.service_seconds,
        }


class Polling(Section):
    """When links without callbacks are looked up again, and when those that nothing vouches for are
    forgotten, in seconds.
    """

    first_seconds: float = Field(default=60.0, gt=0)
    longest_seconds: float = Field(default=86_400.0, gt=0)
    forget_seconds: float = Field(default=604_800.0, gt=0)


class Tracing(Section):
    """Where spans go (OTLP over HTTP, such as http://collector:4318), and for which share of the
    callbacks.
    """

    endpoint: str | None = Field(default=None, pattern=r"^https?://")
    ratio: float = Field(default=1.0, ge=0, le=1)
