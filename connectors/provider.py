"""What a provider is to the rest of the project: one class that knows its words, free of I/O.

A provider judges whether a callback is authentic, reads a raw callback into facts, and says which
requests answer a question about a link. It never opens a connection, reads a clock or an
environment: the edge, the stage `normalize` and the lookup process do that for it."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import BaseModel, SecretStr

from schemas.ids import event_id
from schemas.records import (
    ENDED,
    Coverage,
    LinkEvent,
    LookupRequest,
    Notice,
    PaymentEvent,
    PaymentStatus,
    Registration,
    Source,
    Status,
)

SettlementMode = Literal["by_order", "by_payment", "elsewhere"]


class BadSignature(Exception):
    """The callback claims an authenticity it does not have; the message says what is wrong, without
    secrets.
    """


class KeysNeeded(Exception):
    """The signature can only be judged with the key set at `url`; call again with its text."""

    def __init__(self, url: str, kid: str) -> None:
        super().__init__(f"key {kid} of {url} is needed")
        self.url = url
        self.kid = kid


class Unreadable(Exception):
    """The callback is nothing this provider sends; the message says why. It becomes a dead
    letter.
    """


class UnknownWord(Unreadable):
    """A status nobody knows. It becomes a dead letter and an anomaly of the link, and changes
    nothing.
    """

    def __init__(self, link_id: str, word: str) -> None:
        super().__init__(f"unknown status {word!r}")
        self.link_id = link_id
        self.word = word


@dataclass(frozen=True, slots=True)
class Inbound:
    """A callback as the edge received it. Header names are lower-case; `path` is without the
    query.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Raw:
    """A record of `callbacks.{provider}`. `headers` are the record's; times in microseconds,
    UTC.
    """

    provider: str
    body: bytes
    headers: Mapping[str, str]
    source: Source
    verified: bool
    received_at: int
    origin: str
    # Set on answers to lookups: what was asked, see `LookupRequest`.
    link_id: str | None = None
    claimed_status: Status | None = None
    # Whether this answer is the last word on the claim: if it does not confirm, it denies.
    final: bool = False

    def event(
        self,
        link_id: str,
        status: Status,
        provider_status: str,
        *,
        occurred_at: int | None = None,
        payment_id: str | None = None,
        payment_status: PaymentStatus | None = None,
        order_id: str | None = None,
        amount_minor: int | None = None,
        currency: str | None = None,
        received_minor: int | None = None,
        coverage: Coverage | None = None,
        denies: Status | None = None,
        reason: str | None = None,
        registration: Registration | None = None,
        attributes: dict[str, str] | None = None,
        identity: tuple[str | int | None, ...] = (),
    ) -> LinkEvent:
        """A fact about a link. Its id comes from what it says (or from `identity`, the provider's
        own event id), not from when or how often it came.
        """
        what = identity or (
            provider_status,
            occurred_at,
            payment_id,
            order_id,
            amount_minor,
            received_minor,
        )
        return {
            "event_id": event_id(
                "link-event", self.provider, link_id, status, int(self.verified), denies, *what
            ),
            "provider": self.provider,
            "link_id": link_id,
            "status": status,
            "provider_status": provider_status,
            "occurred_at": occurred_at,
            "received_at": self.received_at,
            "source": self.source,
            "verified": self.verified,
            "payment_id": payment_id,
            "payment_status": payment_status,
            "order_id": order_id,
            "amount_minor": amount_minor,
            "currency": currency,
            "received_minor": received_minor,
            "coverage": coverage,
            "denies": denies,
            "reason": reason,
            "registration": registration,
            "attributes": attributes or {},
            "origin": self.origin,
        }

    def denial(self, answer: Status) -> Status | None:
        """The claimed ending that an answer of this status denies: by being another ending, or
        anything else when it is the last word.
        """
        claim = self.claimed_status
        if claim not in ENDED or answer == claim:
            return None
        return claim if self.final or answer in ENDED else None

    def not_found(self, word: str = "not found") -> LinkEvent:
        """The provider's API knows no such link, which denies whatever ending was claimed."""
        denied = self.claimed_status if self.claimed_status in ENDED else None
        return self.event(self.link_id or "", "UNKNOWN", word, denies=denied)

    def question(self, subject_id: str) -> LookupRequest:
        """Asks the provider about what a callback named that is no link; as limited as about a link
        that we never issued, since anybody may have sent it.
        """
        return {
            "request_id": event_id("lookup", self.provider, subject_id, "CLAIM", self.received_at),
            "provider": self.provider,
            "link_id": subject_id,
            "reason": "CLAIM",
            "claimed_status": None,
            "payment_id": None,
            "issued": False,
            "requested_at": self.received_at,
        }

    def notice(
        self,
        kind: str,
        *,
        subject_id: str | None = None,
        status: str = "",
        attributes: dict[str, str] | None = None,
    ) -> Notice:
        """A callback that is recognized and kept, but says nothing of a link's status."""
        return {
            "event_id": event_id(
                "notice",
                self.provider,
                kind,
                subject_id,
                status,
                *(f"{name}={text}" for name, text in sorted((attributes or {}).items())),
            ),
            "provider": self.provider,
            "kind": kind,
            "subject_id": subject_id,
            "status": status,
            "attributes": attributes or {},
            "received_at": self.received_at,
            "origin": self.origin,
        }


class Facts(NamedTuple):
    """What one raw callback says. Most say one thing. `questions` are about what is no link: about
    links the stages after ask by themselves.
    """

    events: tuple[LinkEvent, ...] = ()
    payments: tuple[PaymentEvent, ...] = ()
    notices: tuple[Notice, ...] = ()
    questions: tuple[LookupRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request to, or at the simulated, provider API. `url` is absolute outward; inward it is path
    and query.
    """

    method: str
    url: str
    # Both may hold secrets.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    # Whether one answer serves all who want the same at the same time, as a token does.
    shared: bool = False


@dataclass(frozen=True, slots=True)
class ApiResponse:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Answer(NamedTuple):
    """The provider's answer to a lookup, published raw: `body` as received (several bodies as one
    JSON object, each verbatim under its name). `status` is the HTTP status of the first.
    """

    status: int
    body: bytes


# Yields requests, is sent responses, returns the answer: the same code serves async, sync and
# tests.
Lookup = Generator[ApiRequest, ApiResponse, Answer]


class LookupRefused(Exception):
    """The provider's API refused for a reason that asking again later may cure (5xx, 401, 429, no
    token).
    """

    def __init__(self, response: ApiResponse, what: str) -> None:
        super().__init__(f"{what} answered {response.status}")
        self.response = response


class ProviderConfig(BaseModel):
    """The settings every provider has; a provider's own class adds to it."""

    path_token: SecretStr | None = None
    order_from: Literal["lookup", "self", "registration"] = "self"


class Provider(Protocol):
    """One provider. Instances are stateless but for their settings and what a token cache needs."""

    name: ClassVar[str]
    Config: ClassVar[type[ProviderConfig]]
    settlement: ClassVar[SettlementMode]
    # Whether links that stay silent are looked up on a growing interval.
    polls: ClassVar[bool]
    # Whether its API must not be asked about a link any more once it has told the link's end.
    ends_for_good: ClassVar[bool]
    # How many lookups may be under way together; 1 where a later request must not overtake.
    calls_at_once: ClassVar[int]
    # Vendor word -> our word: the reviewable table.
    STATUS: ClassVar[Mapping[str, Status]]

    def __init__(self, config: Any) -> None: ...

    @property
    def kept_headers(self) -> frozenset[str]:
        """Request headers to keep with the raw bytes, lower-case. Those with `signature` in their
        name are kept anyhow: a scheme that is not known yet may be judged by them some day.
        """

    def key(self, body: bytes, content_type: str) -> str | None:
        """The link id, else the payment id, if it can be read cheaply: it only places the
        record.
        """

    def authenticate(self, inbound: Inbound, jwks: bytes | None, now: int) -> bool:
        """True when the callback is proven authentic, False when it is an unsigned claim.

        Raises BadSignature when a required proof is missing or wrong, KeysNeeded when keys are."""

    def read(self, raw: Raw) -> Facts:
        """The facts in a raw callback or in an answer to a lookup. Raises Unreadable,
        UnknownWord.
        """

    def can_look_up(self) -> bool:
        """Whether credentials for the provider's API are configured."""

    def lookup(self, request: LookupRequest, now: int) -> Lookup:
        """The requests that answer the question. Raises LookupRefused. `now` in microseconds."""


__all__ = [
    "Answer",
    "ApiRequest",
    "ApiResponse",
    "BadSignature",
    "Facts",
    "Inbound",
    "KeysNeeded",
    "Lookup",
    "LookupRefused",
    "Provider",
    "ProviderConfig",
    "Raw",
    "SettlementMode",
    "UnknownWord",
    "Unreadable",
]
