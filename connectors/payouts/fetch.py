"""Fetch what a provider paid out, day by day, within the provider's limits."""

from collections.abc import Callable, Sequence
from functools import partial

from connectors.clock import micros_now
from connectors.http.caller import PAUSES, Caller, ProviderAway
from connectors.http.client import http_client
from connectors.http.retry_queue import rate_limit
from connectors.payouts.raw import Payload
from connectors.providers.payout_api import PayoutApi, Payouts
from schemas.times import DAY


async def fetch_days(
    name: str,
    provider: PayoutApi,
    days: Sequence[int],
    per_second: float,
    timeout: float,
    advance: Callable[[int], None] = lambda _: None,
    pauses: tuple[float, float] = PAUSES,
) -> list[Payload]:
    """Return the payload of each day; `days` are their beginnings, in microseconds, UTC.

    A day whose requests fail is tried again. Raises ProviderAway, ListRefused.
    """
    limiter = rate_limit(min(per_second, provider.PAYOUT_CALLS_PER_SECOND or per_second))
    payloads = []
    async with http_client(timeout) as client:
        caller = Caller(client, limiter, pauses)
        for start in days:
            try:
                body = await caller.perform(partial(_payouts, provider, start))
            except ProviderAway as error:
                raise ProviderAway(f"{name} does not list its payouts: {error}") from None
            payloads.append(Payload(name, "api", start, start + DAY, body))
            advance(1)
    return payloads


def _payouts(provider: PayoutApi, start: int) -> Payouts:
    return provider.payouts(start, start + DAY, micros_now())
