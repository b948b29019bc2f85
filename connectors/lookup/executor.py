"""The lookups of one account at a provider: asks its API and publishes the answers as records."""

import asyncio
import logging
from collections import Counter
from collections.abc import Hashable

import httpx
from aiokafka import ConsumerRecord
from aiolimiter import AsyncLimiter
from prometheus_client import Counter as Metric
from prometheus_client import Gauge

from connectors import tracing
from connectors.clock import micros_now
from connectors.http.circuit_breaker import CircuitBreaker, ProviderState
from connectors.http.client import UNREACHED, RequestCoalescer, retry_after, run_exchange
from connectors.http.retry_queue import CallFailed, RetryLater, RetryQueue, rate_limit
from connectors.kafka.publisher import Publishes, publish_until_acked
from connectors.kafka.task import Task
from connectors.kafka.task_consumer import decoded
from connectors.lookup.jobs import DedupKey, EndedAnswers, LookupJob, LookupLimits, dedup_key
from connectors.providers import raw
from connectors.providers.base import Answer, Provider, RetryableApiError
from connectors.reasons import reason_of
from connectors.triage.writer import dead_letter
from schemas.codec import LOOKUP_REQUEST, BadRecord, Codecs, SchemaAway
from schemas.ids import is_identifier
from schemas.records import LookupRequest
from schemas.topics import LOOKUPS, callbacks, message_key

log = logging.getLogger(__name__)

_LOOKUPS = Metric(
    "linkstatus_lookups_total", "Lookups by provider and outcome", ["provider", "outcome"]
)
_PENDING = Gauge("linkstatus_lookups_waiting", "Requests waiting for the provider", ["provider"])

# What `normalize` reads when the API has not answered in time.
_NO_ANSWER = Answer(504, b"")


async def look_up(
    provider: Provider,
    client: httpx.AsyncClient,
    request: LookupRequest,
    coalescer: RequestCoalescer,
) -> Answer:
    """Return the provider's answer. Raises CallFailed if a later try may bring one."""
    try:
        return await run_exchange(client, provider.lookup(request, micros_now()), coalescer)
    except RetryableApiError as error:
        raise CallFailed(str(error), retry_after(error.response)) from error
    except UNREACHED as error:
        raise CallFailed(f"{provider.name}: {reason_of(error)}") from error


class LookupExecutor:
    """The lookups of one account at a provider, from the topic `lookups`, which all `providers`
    share. With `takes_unknown` it also takes the records of unknown ones.
    """

    def __init__(
        self,
        provider: Provider,
        client: httpx.AsyncClient,
        publisher: Publishes,
        codecs: Codecs,
        limits: LookupLimits,
        providers: frozenset[str] = frozenset(),
        takes_unknown: bool = True,
    ) -> None:
        self._provider = provider
        self._client = client
        self._publisher = publisher
        self._codecs = codecs
        self._limits = limits
        self._others = providers - {provider.name}
        self._takes_unknown = takes_unknown
        self._jobs: dict[DedupKey, LookupJob] = {}
        # Requests pending for links that we issued, and those for others, by sender.
        self._pending = 0
        self._unissued: Counter[str] = Counter()
        # Both queues together: where calls must keep their order, they must keep it across queues.
        self._calls = asyncio.Semaphore(provider.max_concurrency)
        self._coalescer = RequestCoalescer()
        state = ProviderState(provider.name)
        # The second queue has its own breaker, since anybody may invent an id that the provider
        # fails on.
        self._queues = {
            True: self._queue(state, rate_limit(limits.per_second), provider.max_concurrency),
            False: self._queue(state, rate_limit(limits.unissued_per_minute, 60.0), 1),
        }
        self._warned = False
        self._ended = EndedAnswers(provider.final_after_end)

    def _queue(
        self, state: ProviderState, limiter: AsyncLimiter, max_concurrency: int
    ) -> RetryQueue[LookupJob]:
        return RetryQueue(
            self._attempt,
            self._drop,
            CircuitBreaker(state, pauses=self._limits.breaker_pauses),
            limiter,
            max_concurrency=max_concurrency,
            pauses=self._limits.retry_pauses,
        )

    def capacity(self) -> int:
        """Return how many more requests we may take."""
        return self._limits.max_pending - self._pending

    def in_work(self) -> dict[Hashable, str]:
        """Return what must end soon, as of `progress.Source`."""
        return {one: why for q in self._queues.values() for one, why in q.in_work().items()}

    async def run(self) -> None:
        """Look links up until cancelled."""
        async with asyncio.TaskGroup() as group:
            for queue in self._queues.values():
                group.create_task(queue.run())

    async def handle(self, task: Task) -> None:
        """Begin the lookup that a record of the topic `lookups` requests."""
        if not self._is_ours(task.record):
            return task.ack()
        try:
            request = await decoded(self._codecs, LOOKUP_REQUEST, task.record.value)
            if request["provider"] != self._provider.name:
                raise BadRecord(f"its key and its provider {request['provider']!r} disagree")
            if not is_identifier(request["link_id"]):
                raise BadRecord("its link_id is no id")
        except SchemaAway:
            raise
        except Exception as error:  # no record may stop the others
            self._count("broken")
            await self._dead_letter(task, error)
            return task.ack()
        # The requests for links that we issued need no turns.
        lane = "" if request["issued"] else raw.sender(task.record.headers)
        if self._rejects(request, lane):
            return task.ack()
        return self._enqueue(request, task, lane)

    def _is_ours(self, record: ConsumerRecord) -> bool:
        name = (record.key or b"").partition(b":")[0].decode(errors="replace")
        return name == self._provider.name or (self._takes_unknown and name not in self._others)

    def _rejects(self, request: LookupRequest, lane: str) -> bool:
        if not self._provider.can_look_up():
            if not self._warned:
                log.warning(
                    "%s: no credentials for its API, so nothing is looked up", self._provider.name
                )
            self._warned = True
            self._count("unconfigured")
            return True
        if not request["issued"] and self._unissued[lane] >= self._share(lane):
            self._count("dropped")
            return True
        return False

    def _share(self, lane: str) -> int:
        """Return how many requests of this sender may wait."""
        senders = len(self._unissued) + (lane not in self._unissued)
        return self._limits.max_unissued // senders

    def _enqueue(self, request: LookupRequest, task: Task, lane: str) -> None:
        key = dedup_key(request)
        if job := self._jobs.get(key):
            self._count("merged")
            job.add(task, request)
            return self._change_pending(job, 1)
        trace = tracing.trace_headers(task.record.headers)
        now = asyncio.get_running_loop().time()
        job = self._jobs[key] = LookupJob([task], lane, request=request, trace=trace, created=now)
        self._change_pending(job, 1)
        self._queues[request["issued"]].put(job)
        return None

    async def _attempt(self, job: LookupJob) -> RetryLater | None:
        try:
            answer = await self._answer(job)
        except CallFailed:
            self._count("refused")
            if not self._is_too_old(job):
                raise
            self._count("given up")
            if job.request["refund"] is not None:
                await self._publish(job, _NO_ANSWER, final=True)
        except Exception as error:
            # A retry would fail the same way: a person has to see it.
            log.exception("%s: a lookup failed by a defect", self._provider.name)
            self._count("broken")
            for task in job.tasks:
                await self._dead_letter(task, error)
        else:
            job.answers += 1
            pause = job.pause_after(answer, self._limits.claim_pauses)
            await self._publish(job, answer, final=pause is None)
            if pause is not None:
                return RetryLater(pause)
        job.ack()
        self._drop(job)
        return None

    async def _answer(self, job: LookupJob) -> Answer:
        """Return the provider's answer, or an earlier one that ended the link."""
        async with self._calls:
            if known := self._ended.find(job.request):
                self._count("known")
                return known
            with tracing.call_span(f"lookup {self._provider.name}", job.trace):
                answer = await look_up(self._provider, self._client, job.request, self._coalescer)
        self._count("answered")
        if answer.ended and job.request["refund"] is None:
            self._ended.keep(job.request["link_id"], answer, micros_now())
        return answer

    def _is_too_old(self, job: LookupJob) -> bool:
        """Return whether we have tried long enough: for an id that anybody may have invented, or
        for the amount of a refund, which is published without it then.
        """
        age = asyncio.get_running_loop().time() - job.created
        if job.request["refund"] is not None:
            return age > self._limits.refund_for
        return not job.request["issued"] and age > self._limits.unissued_for

    async def _publish(self, job: LookupJob, answer: Answer, final: bool) -> None:
        name = self._provider.name
        key = message_key(name, job.request["link_id"])
        headers = [*raw.answer_headers(job.request, answer.status, final), *job.trace]
        await publish_until_acked(self._publisher, callbacks(name).name, key, answer.body, headers)

    async def _dead_letter(self, task: Task, error: Exception) -> None:
        await dead_letter(self._publisher, LOOKUPS.name, task, "lookup", error)

    def _drop(self, job: LookupJob) -> None:
        self._change_pending(job, -len(job.tasks))
        self._jobs.pop(dedup_key(job.request), None)

    def _change_pending(self, job: LookupJob, change: int) -> None:
        if job.request["issued"]:
            self._pending += change
        else:
            self._unissued[job.lane] += change
            if not self._unissued[job.lane]:
                del self._unissued[job.lane]
        _PENDING.labels(self._provider.name).inc(change)

    def _count(self, outcome: str) -> None:
        _LOOKUPS.labels(self._provider.name, outcome).inc()
