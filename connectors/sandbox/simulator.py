"""What a simulated provider is: a state machine that answers requests and owes callbacks.

A simulator does no I/O, gets the time with each call and keeps everything in the `State` it is
given, so that a restart goes on where it was. `Sandbox` in `connectors/{provider}/sandbox.py` is
that of a provider.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, ClassVar, NamedTuple, Protocol
from uuid import UUID, uuid4

from connectors.provider import ApiRequest, ApiResponse
from schemas.records import AnomalyKind, Coverage, Status

Doc = dict[str, Any]
SECOND = 1_000_000
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Callback:
    """A callback owed to the merchant. `id` stays the same through all attempts; `url` is where the
    link itself named one."""

    body: bytes
    content_type: str = "application/json"
    url: str | None = None
    id: str = field(default_factory=lambda: str(uuid4()))


class State(Protocol):
    """What a simulator remembers: documents by kind and key, callbacks owed, and alarms."""

    def get(self, kind: str, key: str) -> Doc | None: ...

    def put(self, kind: str, key: str, doc: Doc) -> None: ...

    def all(self, kind: str) -> list[Doc]:
        """Every document of a kind, in the order they were first put."""

    def owe(self, callback: Callback) -> None:
        """The callback is to be delivered, and again until it is acknowledged."""

    def wake(self, key: str, at: int) -> None:
        """Calls the simulator's `woken(key, …)` at that time; one alarm a key."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the simulated provider lives and whom it calls. `speed` 60 makes of minutes seconds."""

    base_url: str
    callback_url: str
    secrets: Mapping[str, str] = field(repr=False)
    speed: float = 1.0


class NewLink(NamedTuple):
    """A payment link to be created, as the provider's dashboard would: outside its API."""

    link_id: str
    amount_minor: int
    currency: str
    order_id: str | None = None


class Life(NamedTuple):
    """One way a link's life may go: the words passed to `move`, and what must be known in the end.

    `status` is one of several where it depends on when we last looked. `heard` is False for a life
    no callback tells of: such a link is registered first.
    """

    words: tuple[str, ...]
    status: tuple[Status, ...]
    coverage: Coverage = "NONE"
    anomalies: tuple[AnomalyKind, ...] = ()
    heard: bool = True


class Simulator:
    """A simulated provider, to be subclassed as `Sandbox` in the provider's folder."""

    name: ClassVar[str]
    # Waits between attempts to deliver, in seconds; after the last the provider gives up.
    RETRY_SECONDS: ClassVar[tuple[float, ...]]
    # Share by which such a wait may be longer or shorter.
    JITTER: ClassVar[float] = 0.2
    # The codes that acknowledge a callback.
    ACKNOWLEDGED: ClassVar[range] = range(200, 300)
    # Outcome -> life, and the currency, for plays.
    LIVES: ClassVar[Mapping[str, Life]]
    CURRENCY: ClassVar[str]

    def __init__(self, site: Site, state: State) -> None:
        self.site = site
        self.state = state

    @classmethod
    def acknowledged(cls, status: int, body: bytes) -> bool:
        """Whether the merchant's answer counts as the delivery of a callback."""
        return status in cls.ACKNOWLEDGED

    @staticmethod
    def generate_secrets() -> dict[str, str]:
        """Keys and ids of a new merchant account."""
        raise NotImplementedError

    @staticmethod
    def environment(site: Site) -> dict[str, str]:
        """The settings, without `LINKSTATUS_{PROVIDER}__`, that point the pipeline here."""
        raise NotImplementedError

    @staticmethod
    def new_id(chance: Random) -> str:
        """A link id as the provider makes them."""
        return str(UUID(int=chance.getrandbits(128), version=4))

    def seed(self, word: str, now: int) -> None:
        """Gives the link of the seed's examples the status `word`, without callbacks. Another word
        than a status changes nothing but that the link exists, COMPLETED at first."""
        raise NotImplementedError

    def answer(self, request: ApiRequest, now: int) -> ApiResponse:
        """The API. `url` is path and query below the host's mount; header names are lower-case."""
        raise NotImplementedError

    def create(self, link: NewLink, now: int) -> None:
        """A link comes to be, with the callbacks that follow."""
        raise NotImplementedError

    def move(self, link_id: str, word: str, now: int) -> None:
        """Something happens to the link. Raises KeyError when there is no such link or word."""
        raise NotImplementedError

    def issue_token(self, seconds: int, now: int) -> str:
        """A bearer token for the API."""
        token = uuid4().hex
        self.state.put("token", token, {"expires_at": now + seconds * SECOND})
        return token

    def has_token(self, headers: Mapping[str, str], now: int) -> bool:
        """Whether the request carries a bearer token that has not run out."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        known = self.state.get("token", token) if scheme.lower() == "bearer" else None
        return known is not None and int(known["expires_at"]) > now

    def woken(self, key: str, now: int) -> None:
        """An alarm set with `State.wake` is due."""

    @staticmethod
    def signing(config: Any) -> dict[str, str]:
        """Secrets of the pipeline's own settings that take the place of the sandbox's, when a
        callback is signed by hand for a pipeline that is not pointed at the sandbox."""
        return {}

    @staticmethod
    def signed_url(config: Any) -> str | None:
        """The URL that the pipeline expects to be signed, where its own settings name one."""
        return None

    @staticmethod
    def sign(site: Site, callback: Callback, url: str, now: int) -> dict[str, str]:
        """The headers that prove the callback, as the vendor's documents describe them."""
        return {}


class Called(NamedTuple):
    """A request taken apart."""

    method: str
    parts: tuple[str, ...]
    query: str
    headers: Mapping[str, str]
    body: Doc

    @classmethod
    def of(cls, request: ApiRequest) -> "Called":
        path, _, query = request.url.partition("?")
        try:
            body = json.loads(request.body or b"{}", parse_float=Decimal)
        except ValueError:
            body = {}
        parts = tuple(part for part in path.split("/") if part)
        return cls(
            request.method, parts, query, request.headers, body if isinstance(body, dict) else {}
        )


def answered(status: int, doc: Any = None) -> ApiResponse:
    """An answer in JSON, or an empty one."""
    if doc is None:
        return ApiResponse(status)
    return ApiResponse(status, to_json(doc), {"content-type": "application/json"})


def to_json(doc: Any) -> bytes:
    """JSON in which a Decimal is a number of exactly its digits; the standard encoder cannot."""
    text = json.dumps(doc, default=lambda number: f"\0{number:f}\0")
    return re.sub(r'"\\u0000([-0-9.]+)\\u0000"', r"\1", text).encode()


def said(doc: Doc, url: str | None = None) -> Callback:
    """A callback in JSON."""
    return Callback(to_json(doc), url=url)


def rfc3339(micros: int, timespec: str = "microseconds") -> str:
    """A time as the providers write it, ending in Z."""
    moment = datetime.fromtimestamp(micros / SECOND, UTC)
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def micros(moment: str) -> int:
    """The time an RFC 3339 text names. Raises ValueError."""
    parsed = datetime.fromisoformat(moment)
    if parsed.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    return (parsed - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
