"""The orders of one provider: performs each action, step by step, and reports it."""

import logging
from collections.abc import Iterable

import httpx
from prometheus_client import Counter

from connectors import tracing
from connectors.backoff import backoff
from connectors.clock import micros_now
from connectors.http.circuit_breaker import CircuitBreaker, ProviderState
from connectors.http.client import UNREACHED, fetch, retry_after
from connectors.http.retry_queue import CallFailed, RetryLater, RetryQueue, rate_limit
from connectors.kafka.publisher import Publishes, publish_until_acked
from connectors.kafka.task import Task
from connectors.providers.order_api import Done, OrderAction, OrderApi, Refused, Verdict, Wait
from connectors.reasons import reason_of
from connectors.settle.jobs import Order, SettleJob, SettleLimits
from schemas.codec import ORDER_UPDATE, Codecs
from schemas.records import OrderStep, OrderUpdate
from schemas.topics import ORDER_UPDATES, message_key

log = logging.getLogger(__name__)

_STEPS = Counter(
    "linkstatus_order_steps_total",
    "Steps at the provider by outcome",
    ["provider", "step", "outcome"],
)


def _steps_reached(action: OrderAction, fast_forward: bool) -> tuple[OrderStep, ...]:
    if action == "SETTLE":
        return ("SPLIT", "SETTLED") if fast_forward else ("SETTLED",)
    return ("CLOSED",) if action == "CLOSE" else ("SPLIT",)


class SettleExecutor:
    """The orders of one provider."""

    def __init__(
        self,
        provider: str,
        api: OrderApi,
        client: httpx.AsyncClient,
        publisher: Publishes,
        codecs: Codecs,
        limits: SettleLimits,
    ) -> None:
        self._provider = provider
        self._api = api
        self._client = client
        self._publisher = publisher
        self._codecs = codecs
        self._limits = limits
        self._jobs: dict[tuple[str, tuple[OrderAction, ...]], SettleJob] = {}
        self._queue = RetryQueue(
            self._attempt,
            self._drop,
            CircuitBreaker(ProviderState(provider), pauses=limits.breaker_pauses),
            rate_limit(limits.per_second),
            pauses=limits.retry_pauses,
        )
        self.run, self.in_work = self._queue.run, self._queue.in_work

    @property
    def pending(self) -> int:
        """Records pending."""
        return sum(len(job.tasks) for job in self._jobs.values())

    def enqueue(self, order: Order, task: Task) -> None:
        """Begin the work on an order; merge it with a job for the same actions."""
        if job := self._jobs.get(order.dedup_key):
            job.tasks.append(task)
            return
        trace = tracing.trace_headers(task.record.headers)
        job = SettleJob([task], order=order, trace=trace, actions=list(order.actions))
        self._jobs[order.dedup_key] = job
        self._queue.put(job)

    async def _attempt(self, job: SettleJob) -> RetryLater | None:
        action = job.actions[0]
        with tracing.call_span(f"{action.lower()} {self._provider}", job.trace):
            verdict = await self._call(job, action)
        self._count(action, type(verdict).__name__.lower())
        if isinstance(verdict, Done):
            await self._report(job, _steps_reached(action, self._limits.fast_forward), None)
            del job.actions[0]
            job.waits = 0
            if job.actions:
                return RetryLater(0.0)
        elif isinstance(verdict, Refused) or self._is_too_old(job):
            log.warning("%s order %s: %s", self._provider, job.order.order_id, verdict.reason)
            await self._report(job, ("FAILED",), verdict.reason)
        else:
            job.waits += 1
            return RetryLater(backoff(job.waits, *self._limits.wait_pauses))
        job.ack()
        self._drop(job)
        return None

    async def _call(self, job: SettleJob, action: OrderAction) -> Verdict:
        request = self._api.order_request(job.order.order_id, action, self._limits.fast_forward)
        try:
            response = await fetch(self._client, request)
        except UNREACHED as error:
            self._count(action, "unreachable")
            raise CallFailed(f"{self._provider}: {reason_of(error)}") from error
        verdict = self._api.order_verdict(action, response)
        if isinstance(verdict, Wait) and verdict.provider_down:
            self._count(action, "unreachable")
            raise CallFailed(f"{self._provider}: {verdict.reason}", retry_after(response))
        return verdict

    async def _report(
        self, job: SettleJob, reached: Iterable[OrderStep], reason: str | None
    ) -> None:
        order_id = job.order.order_id
        key = message_key(self._provider, order_id)
        for step in reached:
            update: OrderUpdate = {
                "provider": self._provider,
                "order_id": order_id,
                "step": step,
                "reason": reason,
                "at": micros_now(),
            }
            value = self._codecs.encode(ORDER_UPDATE, update)
            await publish_until_acked(self._publisher, ORDER_UPDATES.name, key, value, job.trace)

    def _is_too_old(self, job: SettleJob) -> bool:
        return micros_now() - job.order.since > self._limits.give_up_after * 1_000_000

    def _drop(self, job: SettleJob) -> None:
        self._jobs.pop(job.order.dedup_key, None)

    def _count(self, action: OrderAction, outcome: str) -> None:
        _STEPS.labels(self._provider, action, outcome).inc()
