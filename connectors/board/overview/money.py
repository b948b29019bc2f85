"""Where the money is, for people and programs."""

from collections.abc import Mapping
from typing import Any

from connectors.board.database import money
from connectors.board.database.store import Store
from connectors.board.http.parameters import MoneyFilter
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


def _settled_by(kind: str) -> str:
    """A provider that is not registered any more is settled as most are."""
    return _SETTLED_BY[PROVIDERS[kind].settlement if kind in PROVIDERS else "elsewhere"]
