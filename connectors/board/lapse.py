"""How long an order took: from its money to its close, and from there to its settlement."""

from typing import NamedTuple

from schemas.records import OrderStatus


class Lapse(NamedTuple):
    """Times in microseconds, UTC; None for what has not happened or is not known."""

    paid_at: int | None
    closed_at: int | None
    settled_at: int | None

    @property
    def paid_to_closed(self) -> float | None:
        """In seconds."""
        return _between(self.paid_at, self.closed_at)

    @property
    def closed_to_settled(self) -> float | None:
        """In seconds."""
        return _between(self.closed_at, self.settled_at)


def lapse(order: OrderStatus) -> Lapse:
    """When an order was paid (its last link that counts in the close), closed and settled.

    Closed is when that was reported; where nobody reports it, when it was decided.
    """
    counted = [link for link in order["links"] if link["link_id"] in order["closed_link_ids"]]
    steps, told = order["steps"], order["settlements"]
    unreported = order["decided_at"] if told.keys() & {"EXPECTED", "CONFIRMED"} else None
    return Lapse(
        paid_at=max((link["paid_at"] for link in counted if link["paid_at"]), default=None),
        closed_at=steps.get("CLOSED", unreported),
        settled_at=steps.get("SETTLED", told.get("CONFIRMED")),
    )


def _between(earlier: int | None, later: int | None) -> float | None:
    return None if earlier is None or later is None else (later - earlier) / 1_000_000
