"""The endpoints that get events: where each is, what it gets, and how long we try."""

from base64 import b64decode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from connectors.http.access import is_loopback
from schemas import codec, limits
from schemas import topics as t
from schemas.codec import Schema

# The topics whose events can be sent, and their schemas.
SCHEMAS: dict[str, Schema[Any]] = {
    t.ORDER_CLOSE.name: codec.ORDER_CLOSE,
    t.ORDER_CORRECTIONS.name: codec.ORDER_CORRECTION,
    t.SETTLEMENT.name: codec.SETTLEMENT,
    t.REFUNDS.name: codec.REFUND,
    t.ANOMALIES.name: codec.ANOMALY,
}
# The close of an order comes before what follows from it.
_AFTER = {topic.name: t.ORDER_CLOSE.name for topic in (t.ORDER_CORRECTIONS, t.SETTLEMENT)}

_SECRET = "whsec_"  # noqa: S105 (a prefix)


def check_secret(secret: str) -> None:
    """Raise ValueError, without the secret, if it is none of Standard Webhooks."""
    least, most = limits.WEBHOOK_SECRET_LEAST_BYTES, limits.WEBHOOK_SECRET_BYTES
    try:
        size = len(b64decode(secret.removeprefix(_SECRET), validate=True))
    except ValueError:
        size = 0
    if not secret.startswith(_SECRET) or not least <= size <= most:
        raise ValueError(
            f"a secret is {_SECRET} and the base64 of {least} to {most} random bytes; make one "
            f"with `echo {_SECRET}$(openssl rand -base64 32)`"
        )


def check_url(url: str, allow_http: bool) -> None:
    """Raise ValueError if events must not be sent to the URL."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        host = ""
    if not host or parts.scheme not in ("http", "https"):
        raise ValueError("url: write it as https://host/path")
    if parts.username is not None or parts.fragment:
        raise ValueError("url: leave out user, password and fragment; the signature proves us")
    if parts.scheme == "http" and not (allow_http or is_loopback(host)):
        raise ValueError(
            f"url: http shows the events to everyone on the way to {host}; write https, or set "
            "ALLOW_HTTP=true on a network of your own"
        )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL that gets the events of `topics`, signed with each of `secrets` (`whsec_…`), but for
    those that Kafka got before `since` (microseconds, UTC). The URL may hold a secret, too.
    """

    name: str
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    topics: tuple[str, ...] = tuple(SCHEMAS)
    since: int = 0

    @property
    def group(self) -> str:
        """The consumer group, without the installation's prefix."""
        return f"notify-{self.name}"

    @property
    def consumed(self) -> tuple[str, ...]:
        """The topics to read: its own, and that of replayed dead letters."""
        return (*self.topics, t.NOTIFY_REPLAYS.name)

    @property
    def after(self) -> dict[str, str]:
        """The topic that comes first, for those of its topics that have one."""
        return {one: two for one, two in _AFTER.items() if {one, two} <= {*self.topics}}


@dataclass(frozen=True, slots=True)
class NotifyLimits:
    """How often an endpoint is called, and how long we try. Times in seconds."""

    per_second: float = 50.0
    # The whole answer has twice this time.
    timeout: float = 15.0
    # An event that is older than this when a delivery fails becomes a dead letter,
    retry_for: float = limits.NOTIFY_RETRY_SECONDS
    # but not before this process has tried for so long: it may have been away meanwhile.
    retry_at_least: float = 3600.0
    # An event that the endpoint refuses while it accepts others.
    refused_pauses: tuple[float, float] = (5.0, 3600.0)
    # An endpoint that is away: its events wait, and one of them at a time probes.
    away_pauses: tuple[float, float] = (1.0, 60.0)
    # An endpoint that is gone (410).
    gone_pause: float = 3600.0
    max_held: int = limits.NOTIFY_HELD
    max_uncommitted: int = limits.NOTIFY_UNCOMMITTED
