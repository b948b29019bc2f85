"""The orders of one provider: what is wanted of each, performed step by step and reported."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import httpx
from prometheus_client import Counter

from connectors import tracing
from connectors.clock import micros_now
from connectors.delivery import insist
from connectors.intake import Errand, Taken
from connectors.lane import Breaker, CallFailed, Lane, Later, per_second
from connectors.order_api import Done, OrderAction, OrderApi, Refused, Verdict, Wait
from connectors.outward import UNREACHED, backoff, fetch, retry_after
from connectors.publish import Publishes
from schemas.codec import ORDER_UPDATE
from schemas.records import OrderClose, OrderStep, Settlement
from schemas.topics import ORDER_UPDATES, message_key

log = logging.getLogger(__name__)

_STEPS = Counter(
    "linkstatus_order_steps_total",
    "Steps at the provider by outcome",
    ["provider", "step", "outcome"],
)

# What to report after an action; with fast forward, SETTLE performs the split as well.
_REPORTS: dict[OrderAction, tuple[OrderStep, ...]] = {
    "CLOSE": ("CLOSED",),
    "SPLIT": ("SPLIT",),
    "SETTLE": ("SETTLED",),
}


@dataclass(frozen=True, slots=True)
class SettleLimits:
    """What we ask of a provider at most, and how long we wait for it. Times in seconds."""

    fast_forward: bool = False
    per_second: float = 20.0
    timeout: float = 10.0
    # How long an order may stay unready (Ping: not all its payments have ended) before it is given
    # up.
    give_up_after: float = 7 * 86_400.0
    # Orders waiting hold no call back, only memory.
    most_waiting: int = 20_000
    wait_pauses: tuple[float, float] = (5.0, 900.0)
    retry_pauses: tuple[float, float] = (1.0, 300.0)
    breaker_pauses: tuple[float, float] = (1.0, 60.0)


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted of an order since when (microseconds): closing it, or settling it."""

    provider: str
    order_id: str
    actions: tuple[OrderAction, ...]
    since: int


@dataclass(slots=True, eq=False)
class Steps(Errand):
    """The steps of one order that are still to be performed."""

    order: Order = field(kw_only=True)
    trace: list[tuple[str, bytes]] = field(kw_only=True)
    left: list[OrderAction] = field(kw_only=True)
    waits: int = 0


Same = tuple[str, tuple[OrderAction, ...]]


def closing(close: OrderClose) -> Order:
    """What a record of `order-close` wants done."""
    return Order(close["provider"], close["order_id"], ("CLOSE",), close["decided_at"])


def settling(settlement: Settlement, fast_forward: bool) -> Order | None:
    """What a record of `settlement` wants done."""
    if settlement["kind"] != "REQUESTED":
        return None
    actions: tuple[OrderAction, ...] = ("SETTLE",) if fast_forward else ("SPLIT", "SETTLE")
    provider, order_id = settlement["provider"], settlement["order_id"]
    return Order(provider, order_id, actions, settlement["decided_at"])


class Desk:
    """The orders of one provider."""

    def __init__(
        self,
        provider: str,
        api: OrderApi,
        client: httpx.AsyncClient,
        publisher: Publishes,
        limits: SettleLimits,
    ) -> None:
        self._provider = provider
        self._api = api
        self._client = client
        self._publisher = publisher
        self._limits = limits
        self._steps: dict[Same, Steps] = {}
        first, longest = limits.breaker_pauses
        self._lane = Lane(
            self._perform,
            self._drop,
            Breaker(provider, first=first, longest=longest),
            per_second(limits.per_second),
            pauses=limits.retry_pauses,
        )
        self.run = self._lane.run

    @property
    def waiting(self) -> int:
        """Records waiting."""
        return sum(len(steps.tickets) for steps in self._steps.values())

    def enter(self, order: Order, taken: Taken) -> None:
        """Takes one order; what asks for the same is merged with it."""
        same = order.order_id, order.actions
        if steps := self._steps.get(same):
            steps.tickets.append(taken)
            return
        trace = tracing.passed_on(taken.record.headers)
        steps = Steps([taken], order=order, trace=trace, left=list(order.actions))
        self._steps[same] = steps
        self._lane.put(steps)

    async def _perform(self, steps: Steps) -> Later | None:
        action = steps.left[0]
        with tracing.asking(f"{action.lower()} {self._provider}", steps.trace):
            verdict = await self._verdict(steps, action)
        self._count(action, type(verdict).__name__.lower())
        if isinstance(verdict, Done):
            await self._report(steps, self._reports(action), None)
            del steps.left[0]
            steps.waits = 0
            if steps.left:
                return Later(0.0)
            self._finish(steps)
            return None
        if isinstance(verdict, Refused) or self._too_old(steps):
            log.warning("%s order %s: %s", self._provider, steps.order.order_id, verdict.reason)
            await self._report(steps, ("FAILED",), verdict.reason)
            self._finish(steps)
            return None
        steps.waits += 1
        return Later(backoff(steps.waits, *self._limits.wait_pauses))

    async def _verdict(self, steps: Steps, action: OrderAction) -> Verdict:
        fast_forward = self._limits.fast_forward
        request = self._api.step(steps.order.order_id, action, fast_forward)
        try:
            response = await fetch(self._client, request)
        except UNREACHED as error:
            self._count(action, "unreachable")
            raise CallFailed(f"{self._provider}: {error!r}") from error
        verdict = self._api.judge(action, response)
        if isinstance(verdict, Wait) and verdict.provider_down:
            self._count(action, "unreachable")
            raise CallFailed(f"{self._provider}: {verdict.reason}", retry_after(response))
        return verdict

    def _reports(self, action: OrderAction) -> tuple[OrderStep, ...]:
        if action == "SETTLE" and self._limits.fast_forward:
            return ("SPLIT", "SETTLED")
        return _REPORTS[action]

    async def _report(self, steps: Steps, reached: Iterable[OrderStep], reason: str | None) -> None:
        order_id = steps.order.order_id
        for step in reached:
            update = ORDER_UPDATE.encode(
                {
                    "provider": self._provider,
                    "order_id": order_id,
                    "step": step,
                    "reason": reason,
                    "at": micros_now(),
                }
            )
            key = message_key(self._provider, order_id)
            await insist(self._publisher, ORDER_UPDATES.name, key, update, steps.trace)

    def _too_old(self, steps: Steps) -> bool:
        return micros_now() - steps.order.since > self._limits.give_up_after * 1_000_000

    def _finish(self, steps: Steps) -> None:
        steps.done()
        self._drop(steps)

    def _drop(self, steps: Steps) -> None:
        self._steps.pop((steps.order.order_id, steps.order.actions), None)

    def _count(self, action: OrderAction, outcome: str) -> None:
        _STEPS.labels(self._provider, action, outcome).inc()
