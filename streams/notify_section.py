"""The section of the settings about `linkstatus notify`, which a consumer's installation lacks."""

from typing import Self

from pydantic import AwareDatetime, Field, SecretStr, field_validator, model_validator

from connectors.notify.endpoint import SCHEMAS, Endpoint, NotifyLimits, check_secret, check_url
from connectors.providers.registry import check_name
from schemas import limits
from streams.sections import Section


class NotifyEndpoint(Section):
    """A URL that gets events as signed webhooks; see `connectors.notify.endpoint`."""

    url: str = Field(repr=False)
    secrets: tuple[SecretStr, ...] = Field(min_length=1)
    topics: tuple[str, ...] = Field(default=tuple(SCHEMAS), min_length=1)
    since: AwareDatetime | None = None
    # Whether the URL may be http although its host is not this machine.
    allow_http: bool = False

    @field_validator("secrets")
    @classmethod
    def _are_secrets(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            check_secret(secret.get_secret_value())
        return secrets

    @field_validator("topics")
    @classmethod
    def _can_be_sent(cls, topics: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [topic for topic in topics if topic not in SCHEMAS]:
            raise ValueError(f"no topic to send: {unknown[0]!r}; name some of {', '.join(SCHEMAS)}")
        return topics

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        check_url(self.url, self.allow_http)
        return self

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint of this name, with its secrets as text."""
        secrets = tuple(secret.get_secret_value() for secret in self.secrets)
        since = 0 if self.since is None else int(self.since.timestamp()) * 1_000_000
        return Endpoint(name, self.url, secrets, self.topics, since)


class Notify(Section):
    """Who gets events as signed webhooks, by name, and how we call them. Times in seconds."""

    endpoints: dict[str, NotifyEndpoint] = Field(default_factory=dict)
    per_second: float = Field(default=50.0, gt=0)
    timeout_seconds: float = Field(default=15.0, gt=0)
    retry_seconds: float = Field(default=limits.NOTIFY_RETRY_SECONDS, gt=0)

    @field_validator("endpoints")
    @classmethod
    def _have_names(cls, endpoints: dict[str, NotifyEndpoint]) -> dict[str, NotifyEndpoint]:
        for name in endpoints:
            check_name(name, "an endpoint")
        return endpoints

    def named(self) -> list[Endpoint]:
        """Return all endpoints."""
        return [section.endpoint(name) for name, section in self.endpoints.items()]

    def limits(self) -> NotifyLimits:
        return NotifyLimits(self.per_second, self.timeout_seconds, self.retry_seconds)
