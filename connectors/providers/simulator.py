"""The interface of a simulated provider: a state machine that answers requests and sends callbacks.

A simulator does no I/O. Each call passes the time, and the simulator keeps everything in its
`State`, so that it continues after a restart. `connectors/providers/{provider}/sandbox.py` contains
a provider's `Sandbox`.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, ClassVar, NamedTuple, Protocol
from uuid import UUID, uuid4

from connectors.providers.base import ApiRequest, ApiResponse
from schemas.records import AnomalyKind, Coverage, Status

Doc = dict[str, Any]
SECOND = 1_000_000
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Callback:
    """A callback to the merchant. `id` is the same in all attempts, `url` the link's own URL."""

    body: bytes
    content_type: str = "application/json"
    url: str | None = None
    id: str = field(default_factory=lambda: str(uuid4()))


class State(Protocol):
    """The memory of a simulator: documents by kind and key, pending callbacks and timers."""

    def get(self, kind: str, key: str) -> Doc | None: ...

    def put(self, kind: str, key: str, doc: Doc) -> None: ...

    def all(self, kind: str) -> list[Doc]:
        """Return all documents of a kind, in the order in which they were first stored."""

    def enqueue(self, callback: Callback) -> None:
        """Deliver the callback, and repeat it until the merchant acknowledges it."""

    def set_timer(self, key: str, at: int) -> None:
        """Call the simulator's `on_timer(key, …)` at that time. A key has one timer."""


@dataclass(frozen=True, slots=True)
class Site:
    """The URLs and secrets of a simulated account. `speed` 60 turns minutes into seconds."""

    # Where the account's API is; `auth_url` is its token endpoint.
    api_url: str
    callback_url: str
    secrets: Mapping[str, str] = field(repr=False)
    speed: float = 1.0

    @property
    def auth_url(self) -> str:
        return f"{self.api_url}-auth"


class NewLink(NamedTuple):
    """A payment link to create, as in the provider's dashboard: outside its API."""

    link_id: str
    amount_minor: int
    currency: str
    order_id: str | None = None


class PaidPayment(NamedTuple):
    """The payment of a paid link, as the provider pays it out."""

    payment_id: str
    order_id: str | None
    amount_minor: int
    currency: str


class Lifecycle(NamedTuple):
    """One course that a link can take: the steps for `advance`, and the expected result.

    `status` has several values if the result depends on the time of our last lookup. A link whose
    `has_callbacks` is False must be registered by the merchant. In the end, none, one or both
    halves of the payment have gone back (the first is the smaller one), or it is `disputed`.
    """

    steps: tuple[str, ...]
    status: tuple[Status, ...]
    coverage: Coverage = "NONE"
    anomalies: tuple[AnomalyKind, ...] = ()
    has_callbacks: bool = True
    refunded_halves: int = 0
    disputed: bool = False

    def refunded_minor(self, amount_minor: int) -> int:
        """Return what goes back of a payment."""
        return (0, amount_minor // 2, amount_minor)[self.refunded_halves]

    def disputed_minor(self, amount_minor: int) -> int:
        """Return how much of a payment is disputed and has not gone back."""
        return amount_minor if self.disputed else 0


class Simulator(Protocol):
    """An account at a simulated provider. The `Sandbox` in the provider's folder is a subclass."""

    # The provider's name.
    kind: ClassVar[str]
    # Seconds between delivery attempts. After the last one the provider gives up.
    RETRY_SECONDS: ClassVar[tuple[float, ...]]
    # The share by which such a pause may be longer or shorter.
    JITTER: ClassVar[float] = 0.2
    # The HTTP statuses that acknowledge a callback.
    ACKNOWLEDGED: ClassVar[range] = range(200, 300)
    # Outcome -> lifecycle, and the currency, for scenarios.
    LIFECYCLES: ClassVar[Mapping[str, Lifecycle]]
    CURRENCY: ClassVar[str]
    STEPS: ClassVar[Collection[str]]
    # The link in the provider's example callbacks.
    EXAMPLE_LINK: ClassVar[str]
    site: Site
    state: State

    def __init__(self, site: Site, state: State) -> None:
        self.site = site
        self.state = state

    @classmethod
    def acknowledged(cls, status: int, body: bytes) -> bool:
        """Return whether the merchant's answer acknowledges a callback."""
        return status in cls.ACKNOWLEDGED

    @staticmethod
    def generate_secrets() -> dict[str, str]:
        """Return keys and ids for a new merchant account."""

    @staticmethod
    def environment(site: Site) -> dict[str, str]:
        """Return the settings that point the pipeline here, without `LINKSTATUS_{CONNECTION}__`."""

    @staticmethod
    def new_id(random: Random) -> str:
        """Return a link id in the provider's format."""
        return str(UUID(int=random.getrandbits(128), version=4))

    def set_example(self, status: str, now: int) -> None:
        """Set the status of the example link, without callbacks. The first call creates the link,
        paid if `status` is not a status.
        """

    def respond(self, request: ApiRequest, now: int) -> ApiResponse:
        """Return the API's response. `url` is path and query; header names are lower-case."""

    def create(self, link: NewLink, now: int) -> None:
        """Create a link and send its first callbacks."""

    def advance(self, link_id: str, step: str, now: int) -> None:
        """Move the link by one step. Raises KeyError if there is no such link or step."""
        link = self.state.get("link", link_id)
        if link is None or step not in self.STEPS:
            raise KeyError(f"{link_id} {step}")
        self.take_step(link, step, now)

    def take_step(self, link: Doc, step: str, now: int) -> None:
        """Change the link and its payments, and send the callbacks."""

    def payment_of(self, link: Doc) -> PaidPayment:
        """Return the payment of a paid link."""

    def issue_token(self, seconds: int, now: int) -> str:
        token = uuid4().hex
        self.state.put("token", token, {"expires_at": now + seconds * SECOND})
        return token

    def has_token(self, headers: Mapping[str, str], now: int) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        issued = self.state.get("token", token) if scheme.lower() == "bearer" else None
        return issued is not None and int(issued["expires_at"]) > now

    def on_timer(self, key: str, now: int) -> None:
        """Handle a timer of `State.set_timer` that is due."""

    @staticmethod
    def signing_secrets(config: Any) -> dict[str, str]:
        """Return secrets from the pipeline's settings that replace those of the sandbox, for
        `linkstatus send` to a pipeline without a sandbox.
        """
        return {}

    @staticmethod
    def signed_url(config: Any) -> str | None:
        """Return the URL that the signature must contain, if the pipeline's settings name one."""
        return None

    @staticmethod
    def sign(site: Site, callback: Callback, url: str, now: int) -> dict[str, str]:
        """Return the signature headers of the callback, as the vendor documents them."""
        return {}


class ParsedRequest(NamedTuple):
    method: str
    parts: tuple[str, ...]
    query: str
    headers: Mapping[str, str]
    body: Doc

    @classmethod
    def of(cls, request: ApiRequest) -> "ParsedRequest":
        path, _, query = request.url.partition("?")
        try:
            body = json.loads(request.body or b"{}", parse_float=Decimal)
        except ValueError:
            body = {}
        parts = tuple(part for part in path.split("/") if part)
        return cls(
            request.method, parts, query, request.headers, body if isinstance(body, dict) else {}
        )


def json_response(status: int, doc: Any = None) -> ApiResponse:
    """Return a response with a JSON body, or an empty one."""
    if doc is None:
        return ApiResponse(status)
    return ApiResponse(status, to_json(doc), {"content-type": "application/json"})


def json_callback(doc: Doc, url: str | None = None) -> Callback:
    return Callback(to_json(doc), url=url)


def to_json(doc: Any) -> bytes:
    """Return JSON with each Decimal as a number of exactly its digits; `json` cannot do that."""
    text = json.dumps(doc, default=lambda number: f"\0{number:f}\0")
    return re.sub(r'"\\u0000([-0-9.]+)\\u0000"', r"\1", text).encode()


def rfc3339(micros: int, timespec: str = "microseconds") -> str:
    """Return a time in the providers' format, with Z at the end."""
    time = datetime.fromtimestamp(micros / SECOND, UTC)
    return time.isoformat(timespec=timespec).replace("+00:00", "Z")


def micros(text: str) -> int:
    """Return the time of an RFC 3339 text. Raises ValueError."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return (time - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
