"""Why an order is not closed yet."""

from typing import NamedTuple

from schemas.records import ENDED, OrderStatus


class Wait(NamedTuple):
    """What a close waits for: links that were announced and that nobody has told of, links that
    have not ended, a payment where all have.
    """

    unknown_links: int
    open_links: list[str]
    payment: bool


def wait(order: OrderStatus) -> Wait | None:
    """What the order's close waits for; None once it is decided."""
    if order["decided_at"] is not None:
        return None
    statuses = {link["link_id"]: link["status"] for link in order["links"]}
    going = [link_id for link_id, status in statuses.items() if status not in ENDED]
    missing = max(0, (order["links_in_order"] or 0) - len(statuses))
    return Wait(missing, going, payment=not going and "PAID" not in statuses.values())
