"""The callback URL: judges authenticity and size, and answers 200 only when the raw bytes are on
Kafka.

It never reads what a callback means, so nothing in a callback can break it.
"""

import logging
import time
from collections.abc import Mapping

from prometheus_client import Counter, Histogram
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from connectors import recorded, tracing
from connectors.clock import micros_now
from connectors.edge.access import same_secret
from connectors.edge.asgi import (
    MAX_BODY,
    HungUp,
    TooLarge,
    answer,
    header_texts,
    read_body,
    traceparent,
)
from connectors.edge.keys import KeySource, NoKeys
from connectors.provider import BadSignature, Inbound, KeysNeeded, Provider
from connectors.publish import Publishes, Unavailable
from schemas.topics import callbacks, message_key

log = logging.getLogger(__name__)

_ANSWERED = Counter(
    "linkstatus_callbacks_total", "Callbacks by provider and HTTP answer", ["provider", "answer"]
)
_ACK_SECONDS = Histogram(
    "linkstatus_ack_seconds",
    "From a callback's arrival to its acknowledgement, record on Kafka",
    ["provider"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
PREFIX = "/callbacks/"
_OK = 200


class _Desk:
    """The callback URL of one provider."""

    def __init__(
        self,
        provider: Provider,
        path_token: SecretStr | None,
        publisher: Publishes,
        keys: KeySource,
    ) -> None:
        self._provider = provider
        self._path_token = path_token
        self._publisher = publisher
        self._keys = keys
        self._topic = callbacks(provider.name).name
        self._kept = provider.kept_headers
        # Looking up a metric's labels costs more than counting.
        self.answered = {
            status: _ANSWERED.labels(provider.name, str(status)) for status in (200, 401, 413, 503)
        }
        self.ack_seconds = _ACK_SECONDS.labels(provider.name)

    async def take(self, scope: Scope, receive: Receive, token: str) -> int:
        """Takes one callback and says the HTTP status to answer. Raises HungUp."""
        if self._path_token and not same_secret(token, self._path_token):
            return 401
        headers = header_texts(scope["headers"])
        kept = [(n, text) for n, text in headers.items() if n in self._kept or "signature" in n]
        if sum(len(value) for _, value in kept) > MAX_BODY:
            return 413
        try:
            body = await read_body(receive, headers)
            verified = await self._authenticate(scope, headers, body)
            await self._publish(headers, kept, body, verified)
        except TooLarge:
            return 413
        except BadSignature as error:
            log.info("%s callback refused: %s", self._provider.name, error)
            return 401
        except (NoKeys, Unavailable) as error:
            log.info("%s callback not taken: %s", self._provider.name, error)
            return 503
        return _OK

    async def _authenticate(self, scope: Scope, headers: dict[str, str], body: bytes) -> bool:
        inbound = Inbound(scope["raw_path"].decode("latin-1"), headers, body)
        now = micros_now()
        try:
            return await self._judge(inbound, now)
        except KeysNeeded as need:
            raise BadSignature(str(need)) from need
        except (BadSignature, NoKeys):
            raise
        except Exception as error:
            # A request must not be able to break the edge: what cannot be judged is not authentic.
            log.exception("%s: cannot judge a callback", self._provider.name)
            raise BadSignature("cannot be judged") from error

    async def _judge(self, inbound: Inbound, now: int) -> bool:
        """With the keys we have, if it needs any; then, if they lack its key, with the provider's
        latest.
        """
        try:
            return self._provider.authenticate(inbound, None, now)
        except KeysNeeded as need:
            keys = await self._keys.known(need.url)
        try:
            return self._provider.authenticate(inbound, keys, now)
        except KeysNeeded as need:
            keys = await self._keys.fresh(need.url)
        return self._provider.authenticate(inbound, keys, now)

    async def _publish(
        self, headers: dict[str, str], kept: list[tuple[str, str]], body: bytes, verified: bool
    ) -> None:
        content_type = headers.get("content-type", "")
        record_headers = [
            *recorded.headers(self._provider.name, "callback", verified, content_type),
            *traceparent(headers),
            *((name, value.encode("latin-1")) for name, value in kept),
        ]
        key = self._key(body, content_type)
        await self._publisher.publish(self._topic, key, body, record_headers)

    def _key(self, body: bytes, content_type: str) -> bytes | None:
        try:
            identifier = self._provider.key(body, content_type)
            return message_key(self._provider.name, identifier) if identifier else None
        except Exception:
            # The key only places the record; a body that breaks it is kept all the same.
            log.exception("%s: no key from a callback", self._provider.name)
            return None


class Callbacks:
    """ASGI endpoint of `/callbacks/{provider}` and `/callbacks/{provider}/{token}`."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        path_tokens: Mapping[str, SecretStr | None],
        publisher: Publishes,
        keys: KeySource,
    ) -> None:
        self._desks = {
            name: _Desk(provider, path_tokens.get(name), publisher, keys)
            for name, provider in providers.items()
        }
        self._unknown = _ANSWERED.labels("unknown", "404")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        name, _, token = scope["path"].removeprefix(PREFIX).partition("/")
        desk = self._desks.get(name)
        if desk is None:
            self._unknown.inc()
            return await answer(send, 404)
        if scope["method"] != "POST":
            return await answer(send, 405)
        try:
            if tracing.on():
                status = await _traced(desk, name, scope, receive, token)
            else:
                status = await desk.take(scope, receive, token)
        except HungUp:
            return None
        desk.answered[status].inc()
        await answer(send, status)
        if status == _OK:
            desk.ack_seconds.observe(time.perf_counter() - started)
        return None


async def _traced(desk: _Desk, provider: str, scope: Scope, receive: Receive, token: str) -> int:
    """`take` as a span, which the record then names as its trace."""
    with tracing.received(f"{PREFIX}{provider}", scope["headers"]) as (span, headers):
        status = await desk.take({**scope, "headers": headers}, receive, token)
        tracing.answered(span, status)
        return status
