"""The lookups of one provider: which wait, which are merged, which are not asked at all."""

import asyncio
import logging

import httpx
from aiokafka import ConsumerRecord
from aiolimiter import AsyncLimiter
from prometheus_client import Counter, Gauge

from connectors import tracing
from connectors.clock import micros_now
from connectors.delivery import dead_letter, insist
from connectors.intake import Taken, decoded
from connectors.lane import Breaker, CallFailed, Lane, Later, per_second
from connectors.lookup.answers import ask, conclusive, headers
from connectors.lookup.questions import Ends, Limits, Question, Same, same
from connectors.outward import Shared
from connectors.provider import Answer, Provider
from connectors.publish import Publishes
from schemas.codec import LOOKUP_REQUEST, BadRecord
from schemas.records import LookupRequest
from schemas.topics import LOOKUPS, callbacks, message_key

log = logging.getLogger(__name__)

_LOOKUPS = Counter(
    "linkstatus_lookups_total", "Lookups by provider and outcome", ["provider", "outcome"]
)
_WAITING = Gauge("linkstatus_lookups_waiting", "Requests waiting for the provider", ["provider"])


def _per_minute(rate: float) -> AsyncLimiter:
    """A limit of so many calls a minute, with a burst of one minute's worth."""
    burst = max(1.0, rate)
    return AsyncLimiter(burst, 60 * burst / rate)


class Desk:
    """The lookups of one provider. `strays` says that it also takes records that name no
    provider.
    """

    def __init__(
        self,
        provider: Provider,
        client: httpx.AsyncClient,
        publisher: Publishes,
        limits: Limits,
        others: frozenset[str] = frozenset(),
        strays: bool = True,
    ) -> None:
        self._provider = provider
        self._client = client
        self._publisher = publisher
        self._limits = limits
        self._others = others - {provider.name}
        self._strays = strays
        self._questions: dict[Same, Question] = {}
        # Requests waiting, by whether the link is ours.
        self._waiting = {True: 0, False: 0}
        # Both lanes together: what must not overtake must not do so from lane to lane either.
        self._calls = asyncio.Semaphore(provider.calls_at_once)
        self._shared = Shared()
        first, longest = limits.breaker_pauses
        clock = asyncio.get_running_loop().time
        ours = Breaker(provider.name, first=first, longest=longest, clock=clock)
        # Anybody may invent an id that the provider fails on.
        invented = Breaker(provider.name, first=first, longest=longest, clock=clock, beside=ours)
        self._lanes = {
            issued: Lane(
                self._ask,
                self._drop,
                breaker,
                limiter,
                at_once=provider.calls_at_once if issued else 1,
                pauses=limits.retry_pauses,
            )
            for issued, breaker, limiter in (
                (True, ours, per_second(limits.per_second)),
                (False, invented, _per_minute(limits.unissued_per_minute)),
            )
        }
        self._warned = False
        self._ends = Ends(provider.ends_for_good)

    def room(self) -> int:
        """How many more requests may be taken."""
        return self._limits.most_waiting - self._waiting[True]

    async def run(self) -> None:
        """Asks until cancelled."""
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes.values():
                group.create_task(lane.run())

    async def take(self, taken: Taken) -> None:
        """Takes one record of the topic `lookups`."""
        if not self._ours(taken.record):
            return taken.done()
        try:
            request = await decoded(LOOKUP_REQUEST, taken.record.value)
            if request["provider"] != self._provider.name:
                raise BadRecord(f"its key and its provider {request['provider']!r} disagree")
        except BadRecord as error:
            self._count("broken")
            await self._dead_letter(taken, error)
            return taken.done()
        if self._refused(request):
            return taken.done()
        return self._enter(request, taken)

    def _ours(self, record: ConsumerRecord) -> bool:
        named = (record.key or b"").partition(b":")[0].decode(errors="replace")
        return named == self._provider.name or (self._strays and named not in self._others)

    def _refused(self, request: LookupRequest) -> bool:
        if not self._provider.can_look_up():
            if not self._warned:
                log.warning(
                    "%s: no credentials for its API, so nothing is looked up", self._provider.name
                )
            self._warned = True
            self._count("unconfigured")
            return True
        if not request["issued"] and self._waiting[False] >= self._limits.most_unissued:
            self._count("dropped")
            return True
        return False

    def _enter(self, request: LookupRequest, taken: Taken) -> None:
        question = self._questions.get(same(request))
        self._wait(request["issued"], 1)
        if question:
            self._count("merged")
            question.tickets.append(taken)
            return
        trace = tracing.passed_on(taken.record.headers)
        since = asyncio.get_running_loop().time()
        question = Question([taken], request=request, trace=trace, since=since)
        self._questions[same(request)] = question
        self._lanes[request["issued"]].put(question)

    async def _ask(self, question: Question) -> Later | None:
        try:
            answer = await self._answer(question)
        except CallFailed:
            self._count("refused")
            if not self._too_old(question):
                raise
            self._count("given up")
            self._finish(question)
            return None
        except Exception as error:
            # Asking again would break again: a person has to see it.
            log.exception("%s: a lookup broke", self._provider.name)
            self._count("broken")
            for ticket in question.tickets:
                await self._dead_letter(ticket, error)
            self._finish(question)
            return None
        question.asked += 1
        pause = self._pause(question, answer)
        await self._publish(question, answer, final=pause is None)
        if pause is not None:
            return Later(pause)
        self._finish(question)
        return None

    async def _answer(self, question: Question) -> Answer:
        """The provider's answer; one it gave already where that told the end."""
        async with self._calls:
            if known := self._ends.answer(question.request):
                self._count("known")
                return known
            with tracing.asking(f"lookup {self._provider.name}", question.trace):
                answer = await ask(self._provider, self._client, question.request, self._shared)
        self._count("answered")
        return answer

    def _pause(self, question: Question, answer: Answer) -> float | None:
        """After how many seconds to ask again; None when this answer is the last word."""
        pauses = self._limits.claim_pauses
        if conclusive(self._provider, question, answer):
            if answer.status < 400:
                self._ends.keep(question.request["link_id"], answer, micros_now())
            return None
        if not question.claims_ending or question.asked > len(pauses):
            return None
        return pauses[question.asked - 1]

    def _too_old(self, question: Question) -> bool:
        """Whether it has been tried for long enough for an id that anybody may have invented."""
        age = asyncio.get_running_loop().time() - question.since
        return not question.request["issued"] and age > self._limits.unissued_for

    async def _publish(self, question: Question, answer: Answer, final: bool) -> None:
        name = self._provider.name
        key = message_key(name, question.request["link_id"])
        described = headers(self._provider, question, answer, final)
        await insist(self._publisher, callbacks(name).name, key, answer.body, described)

    async def _dead_letter(self, taken: Taken, error: Exception) -> None:
        await dead_letter(self._publisher, LOOKUPS.name, taken, "lookup", error)

    def _finish(self, question: Question) -> None:
        question.done()
        self._drop(question)

    def _drop(self, question: Question) -> None:
        self._wait(question.request["issued"], -len(question.tickets))
        self._questions.pop(same(question.request), None)

    def _wait(self, issued: bool, change: int) -> None:
        self._waiting[issued] += change
        _WAITING.labels(self._provider.name).set(sum(self._waiting.values()))

    def _count(self, outcome: str) -> None:
        _LOOKUPS.labels(self._provider.name, outcome).inc()
