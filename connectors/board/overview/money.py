"""Where the money is, for people and programs."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from connectors.board.database import money
from connectors.board.database.figures import UNKNOWN_CURRENCY, Measure
from connectors.board.database.store import Store
from connectors.board.http.parameters import LINK_MEASURES, ORDER_MEASURES, MoneyFilter
from connectors.providers.base import SettlementMode
from connectors.providers.registry import PROVIDERS

# What confirms a settlement. The order is then SETTLED, the final state at every provider.
_SETTLED_BY: Mapping[SettlementMode, str] = {
    "by_order": "SETTLED on order-updates, which linkstatus settle reports",
    "by_payment": "payment_settled of each payment",
    "elsewhere": "SETTLED on order-updates, which linkstatus reconcile reports",
}


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
                "settled_by": _settled_by(kinds.get(one.provider, one.provider)),
                "registered": one.registered,
                **one.links,
                "rate": one.rate,
            }
            for one in found.providers
        ],
    }


def rows_behind(
    provider: str | None, measure: Measure, currency: str | None, first: str, end: str | None = None
) -> str:
    """Return the address of the list with the rows behind a figure of the days from `first` on,
    before `end`: by default of one day.
    """
    end = end or str(date.fromisoformat(first) + timedelta(days=1))
    query = {"since": first, "until": end} | ({"provider": provider} if provider else {})
    counted = {"counts_as": measure, "currency": currency or UNKNOWN_CURRENCY, **query}
    if measure in LINK_MEASURES:
        return f"/links?{urlencode(counted)}"
    if measure in ORDER_MEASURES:
        return f"/orders?{urlencode(counted)}"
    return f"/reconciliations?{urlencode(query)}"


def _settled_by(kind: str) -> str:
    """A provider that is not registered any more is settled as most are."""
    return _SETTLED_BY[PROVIDERS[kind].settlement if kind in PROVIDERS else "elsewhere"]
