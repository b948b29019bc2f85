"""What the edge does not take, counted by provider and reason.

The counts are records on Kafka, so that no restart loses them, neither of the edge nor of the board
that shows them.
"""

import asyncio
import secrets
from collections.abc import Container
from contextlib import suppress
from typing import NamedTuple

from prometheus_client import Counter
from starlette.types import Message, Send

from connectors.backoff import backoff
from connectors.clock import micros_now
from connectors.http.refusals import Refusal
from connectors.kafka.publisher import Publishes, Unavailable
from schemas.cloud_events import event_headers
from schemas.codec import REFUSED_CALLBACKS, Codecs
from schemas.ids import event_id
from schemas.records import NO_PROVIDER, RefusedCallbacks
from schemas.topics import REFUSED_CALLBACKS as TOPIC

ANSWERED = Counter(
    "linkstatus_callbacks_total", "Callbacks by provider and HTTP answer", ["provider", "answer"]
)
PREFIX = "/callbacks/"
_HOUR = 3_600_000_000
_DETAIL_CHARACTERS = 200
# Of a burst, a count a second is enough.
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE = 60.0
_LAST_SECONDS = 1.0


class _Key(NamedTuple):
    provider: str
    answer: int
    reason: str
    hour: int


class Refusals:
    """Counts the callbacks that one process of the edge does not take, and publishes the counts."""

    def __init__(self) -> None:
        self._edge = secrets.token_hex(8)
        self._records: dict[_Key, RefusedCallbacks] = {}
        # In the order of their first count.
        self._unpublished: dict[_Key, None] = {}
        self._changed = asyncio.Event()

    def count(self, provider: str, answer: int, reason: str, detail: str = "") -> None:
        """Count a callback that gets this answer; `detail` says what is wrong with it."""
        ANSWERED.labels(provider, str(answer)).inc()
        now = micros_now()
        key = _Key(provider, answer, reason, now - now % _HOUR)
        before = self._records.get(key)
        self._records[key] = {
            "event_id": "",
            "edge": self._edge,
            "provider": provider,
            "answer": answer,
            "reason": reason,
            "hour": key.hour,
            "number": before["number"] + 1 if before else 1,
            "last_at": now,
            "detail": detail[:_DETAIL_CHARACTERS],
        }
        self._unpublished[key] = None
        self._changed.set()

    def count_of_server(self, providers: Container[str], url: bytes, refusal: Refusal) -> None:
        """Count a request that the HTTP server refuses, unless it is none to a callback URL. Its
        URL is empty if the server did not get that far.
        """
        path = url.decode("latin-1").partition("?")[0]
        if path and not path.startswith(PREFIX):
            return
        name = path.removeprefix(PREFIX).partition("/")[0]
        provider = name if name in providers else NO_PROVIDER
        self.count(provider, refusal.status, refusal.limit, refusal.text)

    def counting(self, send: Send) -> Send:
        """`send` that counts an answer of a status above 399: that of a request to an address that
        is no callback URL. Its path is not kept, for it may hold a token.
        """

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                self.count(NO_PROVIDER, message["status"], "address")
            await send(message)

        return counted

    async def run(self, publisher: Publishes, codecs: Codecs) -> None:
        """Publish each change, the first one at once. Never ends by itself; when cancelled, it
        publishes the last ones.
        """
        failures = 0
        try:
            while True:
                await self._changed.wait()
                try:
                    await self.publish(publisher, codecs)
                    failures = 0
                except Unavailable:
                    failures += 1
                await asyncio.sleep(backoff(failures + 1, _PAUSE_SECONDS, _LONGEST_PAUSE))
        finally:
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await self.publish(publisher, codecs)

    async def publish(self, publisher: Publishes, codecs: Codecs) -> None:
        """Publish the counts that have changed. Raises Unavailable; the next call goes on."""
        self._changed.clear()
        for key in list(self._unpublished):
            record = self._records[key]
            number = record["number"]
            record["event_id"] = event_id("refused-callbacks", self._edge, *key, number)
            name, value = key.provider.encode(), codecs.encode(REFUSED_CALLBACKS, record)
            headers = event_headers(REFUSED_CALLBACKS, name, record)
            try:
                await publisher.publish(TOPIC.name, name, value, headers)
            except Unavailable:
                self._changed.set()
                raise
            if self._records[key]["number"] == number:
                del self._unpublished[key]
        self._forget_earlier_hours()

    def _forget_earlier_hours(self) -> None:
        now = micros_now()
        for key in [key for key in self._records if key.hour <= now - _HOUR]:
            if key not in self._unpublished:
                del self._records[key]
