"""Callbacks that the edge did not take: why, and what to do about it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from connectors.board.database.summary import Refused
from connectors.serialize import Time
from schemas.records import NO_PROVIDER

# Reason -> what it means, and what a person should do about it: the reviewable table.
REASONS: dict[str, tuple[str, str]] = {
    "signature": (
        "the signature is missing or wrong",
        "If the provider has a new secret or key, set it (LINKSTATUS_{PROVIDER}__…): providers "
        "repeat what is refused. Else a stranger tries your callback URL.",
    ),
    "token": (
        "the path has no token, or a wrong one",
        "Give the provider the callback URL with the token of LINKSTATUS_{PROVIDER}__PATH_TOKEN. "
        "If it has that, a stranger tries the URL.",
    ),
    "path": (
        "the path names no configured provider",
        "Correct the callback URL at the provider, or add its name to LINKSTATUS_PROVIDERS or "
        "LINKSTATUS_CONNECTIONS.",
    ),
    "address": (
        "a POST without a token, to an address that is no callback URL",
        "If a provider sends it, correct its callback URL: /callbacks/{provider} takes callbacks. "
        "Else give the program the token of the board.",
    ),
    "method": (
        "the method is not POST",
        "Providers send callbacks with POST: a person or a scanner opened the URL.",
    ),
    "kafka": (
        "Kafka did not take the record",
        "Nothing is lost while the provider repeats. `linkstatus doctor` checks the brokers.",
    ),
    "keys": (
        "the provider's key set could not be fetched",
        "Nothing is lost while the provider repeats. Check that the edge reaches the provider's "
        "key URL.",
    ),
    "body": (
        "the body is empty, cut or cannot be decoded",
        "A proxy may cut or change bodies. If none does, ask the provider's support.",
    ),
    "size": (
        "the body is too large",
        "docs/limits.md has the limit. No provider sends so much: check who does.",
    ),
    "encoding": (
        "the body has an encoding that the edge cannot decode",
        "Switch the encoding off at the provider, or at the proxy between.",
    ),
}
_BY_LIMIT = (
    "a limit of the HTTP server is exceeded",
    "docs/limits.md describes the limit. The sender or a proxy is slow, broken or hostile, or the "
    "limit is too small.",
)
_URGENT = frozenset({"kafka", "keys"})


@dataclass(frozen=True, slots=True)
class RefusedCallbacks:
    """Callbacks that got another answer than 200, for one reason, within a week."""

    provider: Annotated[str, Field(description="`unknown`: the path names no provider.")]
    answer: Annotated[int, Field(description="The HTTP status.")]
    reason: str
    meaning: str
    advice: Annotated[str, Field(description="What to do about it.")]
    number: int
    number_within_day: int
    last_at: Time
    detail: Annotated[str, Field(description="What was wrong with the last one.")]

    @property
    def urgent(self) -> bool:
        return self.reason in _URGENT

    @property
    def is_of_a_stranger(self) -> bool:
        """Whether nothing tells that a provider has sent them, and nothing of ours is broken."""
        return self.provider == NO_PROVIDER and not self.urgent

    @property
    def sender(self) -> str:
        """Whose callbacks they are, for a sentence."""
        return "no known provider" if self.provider == NO_PROVIDER else self.provider


def explained(refused: Iterable[Refused]) -> Iterator[RefusedCallbacks]:
    """Yield them with what they mean and what to do."""
    for one in refused:
        meaning, advice = REASONS.get(one.reason, _BY_LIMIT)
        advice = advice.replace("{PROVIDER}", one.provider.upper())
        yield RefusedCallbacks(
            *(one.provider, one.answer, one.reason, meaning, advice),
            *(one.number, one.number_within_day, one.last_at, one.detail),
        )
