"""What went back to the payers of an order, or may go back."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from schemas.records import LinkStatus

_Minor = Annotated[int | None, Field(description="Minor units of `currency`; null: not known.")]


@dataclass(frozen=True, slots=True)
class MoneyBack:
    """Sums over the paid links of an order. All are null if the links have several currencies."""

    currency: str | None
    refunded_minor: _Minor
    disputed_minor: _Minor
    net_minor: Annotated[int | None, Field(description="What remains: paid less refunded.")]


def money_back(links: Iterable[LinkStatus]) -> MoneyBack:
    """Return the sums over the paid ones of these links."""
    paid = [link for link in links if link["status"] == "PAID"]
    currencies = {link["currency"] for link in paid}
    if len(currencies) > 1:
        return MoneyBack(None, None, None, None)
    return MoneyBack(
        next(iter(currencies), None),
        _sum(link.get("refunded_minor") for link in paid),
        _sum(link.get("disputed_minor") for link in paid),
        _sum(link.get("net_minor") for link in paid),
    )


def _sum(amounts: Iterable[int | None]) -> int | None:
    total = 0
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def refunds_of(links: Iterable[LinkStatus]) -> list[dict[str, Any]]:
    """Return the refunds of these links, each with its `link_id`, the earliest first. A link that
    an older release stored has none.
    """
    found = [
        {"link_id": link["link_id"], **refund}
        for link in links
        for refund in link.get("refunds", [])
    ]
    return sorted(found, key=lambda refund: min(refund["times"].values()))
