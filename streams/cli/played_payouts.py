"""Reconcile what the simulated providers pay out at the end of `linkstatus sandbox play`."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connectors.sandbox.play import PlayResult, Row
    from streams.domain.reconcile import Period
    from streams.settings import Settings


def rows(settings: "Settings", result: "PlayResult", first: date) -> Iterator["Row"]:
    """Reconcile the days since `first` with each provider that paid out, and yield a row for each
    order of the play. Raises what `wiring.reconcile` raises.
    """
    from connectors.providers.payout_api import PayoutApi
    from connectors.sandbox.play import Row
    from streams import wiring
    from streams.reconcile import Job

    providers = settings.existing_providers()
    for name, file in result.files.items():
        provider = providers[name]
        has_api = isinstance(provider, PayoutApi) and provider.can_look_up()
        job = Job(name, provider, _until_today(first))
        outcome = wiring.reconcile(settings, job, None if has_api else file, lambda _: None)
        found = {row.close["order_id"]: row.outcome for row in outcome.result.rows if row.close}
        # Only later days have an order that is missing, if payouts take days.
        absent = "MISSING" if provider.config.payout_days else "not found"
        for order in result.payouts:
            if order["provider"] == name:
                actual = found.get(order["order_id"], absent)
                agrees = actual == order["outcome"]
                yield Row("payouts", name, order["order_id"], order["outcome"], actual, agrees)


def _until_today(first: date) -> "Period":
    from schemas.times import DAY, start_of
    from streams.domain.reconcile import Period

    return Period(start_of(first), start_of(datetime.now(UTC).date()) + DAY)
