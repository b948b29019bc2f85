"""The callback URLs: they check authenticity and size, and answer 200 once the raw bytes are on
Kafka.

The edge never reads the meaning of a callback, so that no callback can break it.
"""

import logging
import time
from collections.abc import Mapping

from prometheus_client import Counter, Histogram
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from connectors import tracing
from connectors.clock import micros_now
from connectors.http.access import same_secret
from connectors.kafka.publisher import Publishes, Unavailable
from connectors.providers import content, raw
from connectors.providers.base import BadSignature, Inbound, KeysNeeded, OnTrial, Provider
from connectors.providers.content import BadContent
from connectors.receive.asgi import HungUp, answer, header_texts, read_body, sender, traceparent
from connectors.receive.jwks import KeySource, NoKeys
from connectors.receive.refusals import ANSWERED, PREFIX, Refusals
from schemas.limits import HEAD_BYTES
from schemas.records import NO_PROVIDER
from schemas.topics import callbacks, message_key

log = logging.getLogger(__name__)

_ACK_SECONDS = Histogram(
    "linkstatus_ack_seconds",
    "From a callback's arrival to its acknowledgement, record on Kafka",
    ["provider"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
_ON_TRIAL = Counter(
    "linkstatus_signatures_on_trial_total",
    "Callbacks judged by a guessed signature scheme that was not proven before",
    ["provider", "outcome"],
)
_OK = 200
# Their counts begin at 0, so that an alert sees the first.
_STATUSES = (_OK, 400, 401, 405, 408, 413, 415, 431, 503)
# The reasons by the status of BadContent.
_CONTENT = {400: "body", 413: "size", 415: "encoding"}


class CallbackEndpoint:
    """The callback URL of one provider."""

    def __init__(
        self,
        provider: Provider,
        path_token: SecretStr | None,
        publisher: Publishes,
        keys: KeySource,
        sender_key: bytes,
        refusals: Refusals,
    ) -> None:
        self._provider = provider
        self._path_token = path_token
        self._publisher = publisher
        self._keys = keys
        self._topic = callbacks(provider.name).name
        self._kept = provider.kept_headers | {content.HEADER}
        self._sender_key = sender_key
        self._refusals = refusals
        # To look up the labels of a metric costs more than to count.
        answered = {status: ANSWERED.labels(provider.name, str(status)) for status in _STATUSES}
        self.taken = answered[_OK]
        self.ack_seconds = _ACK_SECONDS.labels(provider.name)

    async def take(self, scope: Scope, receive: Receive, token: str) -> int:
        """Take one callback and return the HTTP status of the answer. Raises HungUp."""
        if self._path_token and not same_secret(token, self._path_token):
            return self._refuse(401, "token", "")
        headers = header_texts(scope["headers"])
        kept = [(n, text) for n, text in headers.items() if n in self._kept or "signature" in n]
        stored = sum(len(name) + len(value) for name, value in kept)
        if stored + len(headers.get("content-type", "")) > HEAD_BYTES:
            return self._refuse(431, "head_bytes", f"{stored} bytes of headers to keep")
        if headers.get("transfer-encoding", "chunked").lower() != "chunked":
            return self._refuse(415, "encoding", "a transfer coding other than chunked")
        try:
            body = await read_body(receive, headers)
            key = self._key(content.decode(body, headers), headers.get("content-type", ""))
            verified = await self._authenticate(scope, headers, body)
            if not verified:
                kept.append((raw.SENDER, sender(self._sender_key, scope.get("client"))))
            await self._publish(headers, kept, key, body, verified)
        except BadContent as error:
            return self._refuse(error.status, _CONTENT[error.status], str(error))
        except BadSignature as error:
            return self._refuse(401, "signature", str(error))
        except NoKeys as error:
            return self._refuse(503, "keys", str(error))
        except Unavailable as error:
            return self._refuse(503, "kafka", str(error))
        return _OK

    def _refuse(self, status: int, reason: str, detail: str) -> int:
        name = self._provider.name
        log.info("%s callback not taken: %d, %s %s", name, status, reason, detail)
        self._refusals.count(name, status, reason, detail)
        return status

    async def _authenticate(self, scope: Scope, headers: dict[str, str], body: bytes) -> bool:
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
        inbound = Inbound(path, headers, body, query)
        now = micros_now()
        try:
            return await self._check(inbound, now)
        except KeysNeeded as need:
            raise BadSignature(str(need)) from need
        except (BadSignature, NoKeys):
            raise
        except OnTrial as trial:
            _ON_TRIAL.labels(self._provider.name, "fits" if trial.fits else "misfits").inc()
            log.info("%s callback kept as a claim: %s", self._provider.name, trial)
            return False
        except Exception as error:
            # No request may break the edge: a callback that it cannot check is not authentic.
            log.exception("%s: cannot check a callback", self._provider.name)
            raise BadSignature("cannot be checked") from error

    async def _check(self, inbound: Inbound, now: int) -> bool:
        """Check without keys, then with the keys that we have, then with the provider's latest."""
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
        self,
        headers: dict[str, str],
        kept: list[tuple[str, str]],
        key: bytes | None,
        body: bytes,
        verified: bool,
    ) -> None:
        content_type = headers.get("content-type", "")
        record_headers = [
            *raw.headers(self._provider.name, "callback", verified, content_type),
            *traceparent(headers),
            *((name, value.encode("latin-1")) for name, value in kept),
        ]
        await self._publisher.publish(self._topic, key, body, record_headers)

    def _key(self, body: bytes, content_type: str) -> bytes | None:
        try:
            identifier = self._provider.key(body, content_type)
            return message_key(self._provider.name, identifier) if identifier else None
        except Exception:
            # The key only chooses the partition; the edge keeps a body without a key, too.
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
        sender_key: bytes,
        refusals: Refusals,
    ) -> None:
        shared = publisher, keys, sender_key, refusals
        self._endpoints = {
            name: CallbackEndpoint(provider, path_tokens.get(name), *shared)
            for name, provider in providers.items()
        }
        ANSWERED.labels(NO_PROVIDER, "404")
        self._refusals = refusals
        # Tracing starts before the edge. To look it up takes 5 µs, as the environment counts, too.
        self._traced = tracing.enabled()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        name, _, token = scope["path"].removeprefix(PREFIX).partition("/")
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            self._refusals.count(NO_PROVIDER, 404, "path")
            return await answer(send, 404)
        if scope["method"] != "POST":
            self._refusals.count(name, 405, "method", scope["method"])
            return await answer(send, 405)
        try:
            if self._traced:
                status = await _traced(endpoint, name, scope, receive, token)
            else:
                status = await endpoint.take(scope, receive, token)
        except HungUp:
            return None
        if status == _OK:
            endpoint.taken.inc()
        await answer(send, status)
        if status == _OK:
            endpoint.ack_seconds.observe(time.perf_counter() - started)
        return None


async def _traced(
    endpoint: CallbackEndpoint, provider: str, scope: Scope, receive: Receive, token: str
) -> int:
    """Take the callback in a span, which becomes the trace of the record."""
    with tracing.request_span(f"{PREFIX}{provider}", scope["headers"]) as (span, headers):
        status = await endpoint.take({**scope, "headers": headers}, receive, token)
        tracing.set_status(span, status)
        return status
