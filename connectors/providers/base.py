"""The interface between a provider and the rest of the project: one class per provider.

A provider checks whether a callback is authentic, reads facts from a raw record, and yields the API
requests of a lookup. It does no I/O and reads no clock and no environment: the edge, the stage
`normalize` and the lookup process do that.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from connectors.providers import content
from connectors.providers.raw import Raw
from schemas.limits import RECONCILIATION_DAYS
from schemas.records import LinkEvent, LookupRequest, Notice, PaymentEvent, Status

# What a column of a file of payouts can state; amounts are in major units, or in minor ones.
PayoutField = Literal[
    "line_id",
    "kind",
    "payment_id",
    "order_id",
    "link_id",
    "payout_id",
    "reference",
    "at",
    "currency",
    "gross",
    "fee",
    "net",
    "gross_minor",
    "fee_minor",
    "net_minor",
    "debit",
    "credit",
    "settled",
    "result",
]
SettlementMode = Literal["by_order", "by_payment", "elsewhere"]


class BadSignature(Exception):
    """The signature of a callback is missing or wrong. The message contains no secrets."""


class OnTrial(Exception):
    """The callback is a claim: its signature was judged by a scheme that is only guessed, and that
    no callback before has proven. `fits` tells whether it is right.
    """

    def __init__(self, fits: bool) -> None:
        super().__init__("its signature fits" if fits else "its signature is missing or wrong")
        self.fits = fits


class KeysNeeded(Exception):
    """The signature can be checked only with the key set at `url`: call again with its text."""

    def __init__(self, url: str, kid: str) -> None:
        super().__init__(f"key {kid} of {url} is needed")
        self.url = url
        self.kid = kid


class Unreadable(Exception):
    """The provider sends no such callback; the message says why. It becomes a dead letter."""

    # The item of the body that it is about, such as `events.3`; None for the whole body.
    item: str | None = None


class UnknownStatus(Unreadable):
    """The status is not in the provider's table: a dead letter, and an anomaly of the link."""

    def __init__(self, link_id: str, provider_status: str) -> None:
        super().__init__(f"unknown status {provider_status!r}")
        self.link_id = link_id
        self.provider_status = provider_status


@dataclass(frozen=True, slots=True)
class Inbound:
    """A callback request. Header names are lower-case; `path` is without the query, and `body` as
    sent: signatures cover its bytes.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes
    query: str = ""

    @property
    def content(self) -> bytes:
        """The decoded body. Raises BadContent."""
        return content.decode(self.body, self.headers)


class Refusal(NamedTuple):
    """An item of a record that cannot be read, such as `events.3`, and the reason."""

    item: str
    error: Unreadable


class Facts(NamedTuple):
    """The facts in one raw record; most records state one.

    `lookups` ask about something that is not a link. Later stages request the lookups of links.
    `refused` are the items of a record that cannot be read: each becomes a dead letter of its own,
    and the facts in the other items count. `facts.of_items` reads a record with several items.
    """

    events: tuple[LinkEvent, ...] = ()
    payments: tuple[PaymentEvent, ...] = ()
    notices: tuple[Notice, ...] = ()
    lookups: tuple[LookupRequest, ...] = ()
    refused: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request to a provider's API. `url` is absolute; for a simulated API, path and query."""

    method: str
    url: str
    # Both may contain secrets.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    # Whether concurrent calls with the same request can share one response, such as a token.
    shared: bool = False


@dataclass(frozen=True, slots=True)
class ApiResponse:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Answer(NamedTuple):
    """The provider's answer to a lookup, published as received.

    Several bodies become one JSON object, each verbatim under its name. `status` is the HTTP status
    of the first response. `ended` says whether the link has ended: `Provider.lookup` picks it from
    the JSON. Only `normalize` reads the facts, from the raw record, as a replay does.
    """

    status: int
    body: bytes
    ended: bool = False

    @property
    def is_conclusive(self) -> bool:
        """Whether a repeated lookup is useless: the link has ended, or the API refuses the id. A
        404 may come before the API knows a link that a callback has named.
        """
        return self.ended or (self.status >= 400 and self.status != 404)


# Yields requests, receives responses, returns the answer: async code, sync code and tests run the
# same generator.
Lookup = Generator[ApiRequest, ApiResponse, Answer]


class RetryableApiError(Exception):
    """The provider's API failed in a way that a later retry may fix: 5xx, 401, 429, no token."""

    def __init__(self, response: ApiResponse, what: str) -> None:
        super().__init__(f"{what} answered {response.status}")
        self.response = response


class ProviderConfig(BaseModel):
    """The settings of every connection. A provider's own class adds to them."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    path_token: SecretStr | None = None
    order_from: Literal["lookup", "self", "registration"] = "self"
    # How long after its close an order may wait for its payout.
    payout_days: int = Field(default=0, ge=0, le=RECONCILIATION_DAYS)
    # Our fields -> the columns of the provider's export, where they have other names.
    payout_columns: dict[PayoutField, str] = {}
    # Calls of the account's API a second, if other than LOOKUPS__PER_SECOND.
    lookups_per_second: float | None = Field(default=None, gt=0)


class Provider(Protocol):
    """One connection: an account at a provider. Its only state is its settings and, where needed, a
    cache of the API's token, and whether a callback has proven a guessed signature scheme.
    """

    # The provider's name: that of its folder.
    kind: ClassVar[str]
    # The connection's name. It stands in URL, topic, key and record.
    name: str
    Config: ClassVar[type[ProviderConfig]]
    settlement: ClassVar[SettlementMode]
    # Whether silent links are looked up again, on a growing interval.
    polling: ClassVar[bool] = True
    # Whether the provider forbids lookups of a link after it has reported the link's end.
    final_after_end: ClassVar[bool] = False
    # Whether the provider signs the callbacks of all its customers with one key: a signature then
    # proves the provider, and not that the link is ours.
    signs_for_all: ClassVar[bool] = False
    # Whether the API tells the amount of a refund that a callback names without it.
    answers_refunds: ClassVar[bool] = False
    # The number of concurrent lookups; 1 where requests must arrive in order.
    max_concurrency: ClassVar[int] = 8
    # The provider's status -> our status: the table to review.
    STATUS: ClassVar[Mapping[str, Status]]
    # Our fields -> the columns of the provider's exports of payouts, letters and digits only, where
    # `payout_rows` does not know them.
    PAYOUT_COLUMNS: ClassVar[Mapping[PayoutField, tuple[str, ...]]] = {}
    # The columns of the provider's exports of links, or the fields of its objects, that have the id
    # of a link: letters and digits only, the surest one first. `link_id` is always one.
    LINK_COLUMNS: ClassVar[tuple[str, ...]] = ()
    # The settings that a call of the API needs.
    CREDENTIALS: ClassVar[tuple[str, ...]]
    config: Any

    def __init__(self, config: Any, name: str = "") -> None:
        """`name` is the connection's; by default the provider's."""
        self.config = config
        self.name = name or self.kind

    @property
    def kept_headers(self) -> frozenset[str]:
        """Request headers to store with the raw bytes, lower-case, besides those with `signature`
        in their name: a scheme that is not known yet may need them later.
        """
        return frozenset()

    def key(self, body: bytes, content_type: str) -> str | None:
        """Return the link id, or else the payment id, if it is cheap to read: it only selects the
        partition of the record.
        """

    def authenticate(self, inbound: Inbound, jwks: bytes | None, now: int) -> bool:
        """Return True if the callback is proven authentic, False if it is an unsigned claim.

        Raises BadSignature if a required proof is missing or wrong, KeysNeeded if keys are missing,
        OnTrial.
        """

    def read(self, raw: Raw) -> Facts:
        """Return the facts in a callback or in an answer; those of one item if `raw.item` names it.
        Raises Unreadable, UnknownStatus.
        """

    def can_look_up(self) -> bool:
        """Return whether credentials for the provider's API are configured."""
        return all(getattr(self.config, name) for name in self.CREDENTIALS)

    def lookup(self, request: LookupRequest, now: int) -> Lookup:
        """Yield the API requests. `now` is in microseconds. Raises RetryableApiError."""
