"""The deliveries to one endpoint: each event until it is accepted, or given up as a dead letter."""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
from prometheus_client import Counter, Gauge

from connectors import tracing
from connectors.backoff import backoff
from connectors.clock import micros_now, micros_of
from connectors.http.circuit_breaker import CircuitBreaker, ProviderState
from connectors.http.client import UNREACHED, fetch, retry_after
from connectors.http.retry_queue import CallFailed, RetryLater, RetryQueue, rate_limit
from connectors.kafka.publisher import Publishes
from connectors.kafka.task import Job, Task
from connectors.kafka.task_consumer import decoded
from connectors.notify import message
from connectors.notify.endpoint import SCHEMAS, Endpoint, NotifyLimits
from connectors.notify.message import Event
from connectors.notify.sequence import Sequence
from connectors.providers.base import ApiRequest, ApiResponse
from connectors.reasons import reason_of
from connectors.triage.dead_letter import ENDPOINT
from connectors.triage.writer import dead_letter
from schemas.codec import BadRecord, Codecs, Schema, SchemaAway
from schemas.headers import pairs
from schemas.topics import NOTIFY_REPLAYS

log = logging.getLogger(__name__)

_DELIVERIES = Counter(
    "linkstatus_notify_deliveries_total",
    "Attempts to deliver an event, by outcome",
    ["endpoint", "outcome"],
)
_DOWN = Gauge(
    "linkstatus_notify_endpoint_down",
    "1 while deliveries to the endpoint pause after failures",
    ["endpoint"],
)
# The endpoint as a whole is away, or asks us to slow down.
_AWAY = frozenset({410, 429, 502, 503, 504})
_GONE = 410


class Undelivered(Exception):
    """The endpoint has not accepted an event for so long that we give up; the message says why."""


@dataclass(slots=True, eq=False)
class Delivery(Job):
    """An event to deliver, how often it was tried, and when first (monotonic clock)."""

    event: Event = field(kw_only=True)
    attempts: int = 0
    first_at: float = 0.0

    @property
    def keys(self) -> tuple[str, ...]:
        return self.event.keys

    @property
    def task(self) -> Task:
        return self.tasks[0]

    @property
    def since(self) -> int:
        """When Kafka got the event, in microseconds, UTC."""
        return micros_of(self.task.record.timestamp)


class Deliveries:
    """The deliveries to one endpoint. `prefix` is that of the installation's topics."""

    def __init__(
        self,
        endpoint: Endpoint,
        prefix: str,
        client: httpx.AsyncClient,
        publisher: Publishes,
        codecs: Codecs,
        limits: NotifyLimits,
    ) -> None:
        self._endpoint = endpoint
        self._name = endpoint.name
        self._prefix = prefix
        self._client = client
        self._publisher = publisher
        self._codecs = codecs
        self._limits = limits
        self._sequence: Sequence[Delivery] = Sequence()
        # Why the last delivery failed.
        self._trouble = ""
        self._queue = RetryQueue(
            self._attempt,
            self._finish,
            CircuitBreaker(ProviderState(self._name, _DOWN), pauses=limits.away_pauses),
            rate_limit(limits.per_second),
            pauses=limits.away_pauses,
        )
        self.run, self.in_work = self._queue.run, self._queue.in_work

    def capacity(self) -> int:
        """Return how many more events we may take."""
        return self._limits.max_held - len(self._sequence)

    def why_full(self) -> str | None:
        """For /readyz: why no more events are read, None while they are. An endpoint that catches
        up is no reason.
        """
        if self.capacity() > 0 or not self._trouble:
            return None
        return (
            f"endpoint {self._name} {self._trouble}; {len(self._sequence)} events wait, and no "
            "more are read; repair it, or remove it from LINKSTATUS_NOTIFY__ENDPOINTS"
        )

    def oldest(self) -> int | None:
        """Return when Kafka got the oldest event in memory (microseconds, UTC)."""
        return min((delivery.since for delivery in self._sequence if delivery.live), default=None)

    async def handle(self, task: Task) -> None:
        """Begin the delivery of a record."""
        try:
            event = await self._event(task)
        except SchemaAway:
            raise
        except Exception as error:  # no record may stop the others
            await self._park(task, error)
            return task.ack()
        if event is None:
            return task.ack()
        return self._start(self._sequence.add(Delivery([task], event=event)))

    async def _event(self, task: Task) -> Event | None:
        """Return the event of a record, None if this endpoint does not get it."""
        record, topic = task.record, self._topic(task)
        headers = dict(pairs(record.headers))
        if topic == NOTIFY_REPLAYS.name:
            if headers.get(ENDPOINT) != self._name.encode():
                return None
            return message.event_of(*await asyncio.to_thread(self._replayed, record.value))
        # A replay on the event's own topic is for another reader: we have had the event.
        is_old = micros_of(record.timestamp) < self._endpoint.since
        if is_old or headers.get("source") == b"replay":
            return None
        schema = SCHEMAS[topic]
        return message.event_of(schema, await decoded(self._codecs, schema, record.value))

    def _replayed(self, value: bytes) -> tuple[Schema[Any], Any]:
        schema, record = self._codecs.decode_any(value)
        if schema not in SCHEMAS.values():
            raise BadRecord(f"a {schema.full_name} is no event to send")
        return schema, record

    def _start(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            self._queue.put(delivery)

    async def _attempt(self, delivery: Delivery) -> RetryLater | None:
        delivery.first_at = delivery.first_at or time.monotonic()
        delivery.attempts += 1
        trace = tracing.trace_headers(delivery.task.record.headers)
        with tracing.call_span(f"notify {self._name}", trace):
            response, failure = await self._post(delivery.event)
        if failure is None:
            self._trouble = ""
            self._count("delivered")
            delivery.ack()
        else:
            self._trouble = failure
            away = response is None or response.status in _AWAY
            self._count("away" if away else "refused")
            if not self._gives_up(delivery):
                return self._later(delivery, response, failure, away=away)
            why = f"{self._name} {failure}, after {delivery.attempts} attempts; given up"
            await self._park(delivery.task, Undelivered(why))
            delivery.ack()
        self._finish(delivery)
        return None

    async def _post(self, event: Event) -> tuple[ApiResponse | None, str | None]:
        """Return the answer, if there is one, and what is wrong with it, None if it is accepted."""
        headers = message.headers(event, self._endpoint.secrets, micros_now())
        request = ApiRequest("POST", self._endpoint.url, headers, event.body)
        try:
            response = await fetch(self._client, request, with_body=False)
        except UNREACHED as error:
            return None, f"does not answer: {reason_of(error)}"
        accepted = 200 <= response.status < 300
        return response, None if accepted else f"answers {response.status}"

    def _later(
        self, delivery: Delivery, response: ApiResponse | None, failure: str, *, away: bool
    ) -> RetryLater:
        """Return when to try again, if the endpoint is up. Raises CallFailed."""
        requested = None if response is None else retry_after(response)
        if away:
            if response is not None and response.status == _GONE:
                requested = self._limits.gone_pause
            raise CallFailed(f"{self._name} {failure}", requested)
        pause = max(backoff(delivery.attempts, *self._limits.refused_pauses), requested or 0.0)
        log.info("%s %s to %s; again in %.0f s", self._name, failure, delivery.event.id, pause)
        return RetryLater(pause)

    def _gives_up(self, delivery: Delivery) -> bool:
        limits = self._limits
        tried = time.monotonic() - delivery.first_at
        too_old = micros_now() - delivery.since > limits.retry_for * 1_000_000
        return too_old and tried >= min(limits.retry_at_least, limits.retry_for)

    def _finish(self, delivery: Delivery) -> None:
        self._start(self._sequence.remove(delivery))

    async def _park(self, task: Task, error: Exception) -> None:
        """Make the record a dead letter, whose replay only this endpoint gets."""
        self._count("dead-lettered")
        more = {ENDPOINT: self._name.encode()}
        await dead_letter(self._publisher, self._topic(task), task, "notify", error, more)

    def _topic(self, task: Task) -> str:
        name: str = task.record.topic.removeprefix(self._prefix)
        return name

    def _count(self, outcome: str) -> None:
        _DELIVERIES.labels(self._name, outcome).inc()
