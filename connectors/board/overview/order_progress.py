"""The progress of an order: what its close waits for, and how long its steps took."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from connectors.serialize import Time
from schemas.records import ENDED, OrderStatus, was_closed_elsewhere


@dataclass(frozen=True, slots=True)
class Durations:
    """When the order reached each state, and how long that took; null: not yet, or not known."""

    paid_at: Time
    closed_at: Time
    settled_at: Time
    paid_to_closed_seconds: float | None
    closed_to_settled_seconds: float | None


def durations(order: OrderStatus) -> Durations:
    """Return when an order was paid (its last link that counts in the close), closed and settled.

    Closed is when a service reported it; where no service reports it, when it was decided.
    """
    counted = [link for link in order["links"] if link["link_id"] in order["closed_link_ids"]]
    steps, settlements = order["steps"], order["settlements"]
    unreported = order["decided_at"] if settlements.keys() & {"EXPECTED", "CONFIRMED"} else None
    paid_at = max((link["paid_at"] for link in counted if link["paid_at"]), default=None)
    closed_at = steps.get("CLOSED", unreported)
    settled_at = steps.get("SETTLED", settlements.get("CONFIRMED"))
    return Durations(
        *(paid_at, closed_at, settled_at),
        _seconds_between(paid_at, closed_at),
        _seconds_between(closed_at, settled_at),
    )


def _seconds_between(earlier: int | None, later: int | None) -> float | None:
    """Return the seconds, or None if the later one is not known, or is earlier by its own clock."""
    if earlier is None or later is None or later < earlier:
        return None
    return (later - earlier) / 1_000_000


@dataclass(frozen=True, slots=True)
class CloseBlockers:
    """What the close of the order waits for."""

    unknown_links: Annotated[
        int, Field(ge=0, description="Announced links that are not registered.")
    ]
    open_links: Annotated[list[str], Field(description="The ids of the links that have not ended.")]
    payment: Annotated[bool, Field(description="Whether all links have ended and none is paid.")]
    awaited_amounts: Annotated[
        list[str],
        Field(
            description="The ids of the paid links whose amounts were asked for at the provider."
        ),
    ]


def close_blockers(order: OrderStatus) -> CloseBlockers | None:
    """Return what the close of the order waits for; None once it is decided, if it was elsewhere,
    or while all links of the order have left for others.
    """
    if order["decided_at"] is not None or order["state"] == "EMPTY":
        return None
    if was_closed_elsewhere(order):
        return None
    statuses = {link["link_id"]: link["status"] for link in order["links"]}
    still_open = [link_id for link_id, status in statuses.items() if status not in ENDED]
    unknown = max(0, (order["links_in_order"] or 0) - len(statuses))
    return CloseBlockers(
        unknown,
        still_open,
        payment=not still_open and "PAID" not in statuses.values(),
        awaited_amounts=[link["link_id"] for link in order["links"] if link["awaits_details"]],
    )
