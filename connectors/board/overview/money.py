"""Where the money is, for people and programs."""

from collections.abc import Mapping
from typing import Any

from connectors.board.database import money
from connectors.board.database.store import Store
from connectors.board.http.parameters import MoneyFilter

# What confirms a settlement. The order is then SETTLED, the final state at every provider.
SETTLED_BY: Mapping[str, str] = {
    "ping": "SETTLED on order-updates, which linkstatus settle reports",
    "truelayer": "payment_settled of each payment",
}
_BY_REPORT = "SETTLED on order-updates, which linkstatus reconcile reports"


def overview(store: Store, query: MoneyFilter, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Return the money of the days, for programs; `kinds` are the providers of connections."""
    first, end = query.days()
    found = money.days(store, first, end, query.provider or "", query.currency or "")
    return {
        "since": first,
        "until": end,
        "currencies": [
            {
                "currency": one.currency,
                "total": one.total,
                "days": [{"day": day, **sums} for day, sums in one.days.items()],
            }
            for one in found.currencies
        ],
        "providers": [
            {
                "provider": one.provider,
                "settled_by": SETTLED_BY.get(kinds.get(one.provider, one.provider), _BY_REPORT),
                "registered": one.registered,
                **one.links,
                "rate": one.rate,
            }
            for one in found.providers
        ],
    }
