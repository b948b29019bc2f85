"""Why an order is not closed: whom it waits for, and since when. Pure: no connection, no clock.

What the order's own row tells (`of_order`) and what the row of an open link tells (`of_link`) are
columns of their tables, so that the database finds the orders that wait. `waiting` makes the
sentence that every page, list and command shows.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, get_args

from schemas.records import ENDED, LinkStatus, OrderLink, OrderStatus, was_closed_elsewhere

# The most alarming first. A `service` is one of the merchant's or of ours.
Party = Literal["person", "provider", "service", "payer"]
PARTIES: tuple[Party, ...] = get_args(Party)
# Cause -> who has to act, and the words: the reviewable table.
CAUSES: dict[str, tuple[Party, str]] = {
    "failed": ("person", "for a person, a step failed: {detail}"),
    "claim_denied": ("person", "for a person, claim denied: {links}"),
    "underpaid": ("person", "for a person, less was paid than requested: {links}"),
    "claimed": ("provider", "for {provider}'s API, silent since {since}: {links}"),
    "stale": ("provider", "for {provider}'s API, silent since {since}: {links} past expiry"),
    "amount": (
        "provider",
        "for {provider}'s API to tell the amount of {links}, silent since {since}",
    ),
    "processing": ("provider", "for {provider} to finish the payment of {links}{detail}"),
    "registration": ("service", "for {detail} to be registered"),
    "worker": ("service", "for the worker to decide"),
    "close_report": (
        "service",
        "for our service: no service has reported on order-updates that the order is closed",
    ),
    "settle_report": (
        "service",
        "for our service: no service has reported on order-updates that the order is settled",
    ),
    "payment": ("payer", "for a payment{detail}"),
    "payer": ("payer", "for the payer of {links}"),
}
# The anomalies that a person has to deal with before the order goes on.
FOR_PERSONS = ("CLAIM_DENIED", "UNDERPAID")
# After so many seconds it is a problem that an order waits for someone.
PATIENCE: Mapping[Party, float] = {"person": 86_400.0, "provider": 14_400.0, "service": 3600.0}
_NAMED = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Part(NamedTuple):
    """One thing that an order waits for, since a time (microseconds, UTC), about these links."""

    cause: str
    since: int
    links: tuple[str, ...] = ()
    detail: str = ""

    @property
    def waits_for(self) -> Party:
        return CAUSES[self.cause][0]

    def text(self, provider: str) -> str:
        named = ", ".join(self.links[:_NAMED]) + (" and others" if self.links[_NAMED:] else "")
        links = f"link {named}" if len(self.links) == 1 else f"links {named}"
        words = CAUSES[self.cause][1]
        since = _minute(self.since)
        return words.format(provider=provider, links=links, since=since, detail=self.detail)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Whom an order waits for, the most alarming first; since when; and why, in one sentence."""

    waits_for: tuple[Party, ...]
    since: int
    reason: str

    @property
    def sentence(self) -> str:
        return f"{self.reason[0].upper()}{self.reason[1:]}."


def waiting(order: OrderStatus, links: Iterable[LinkStatus]) -> Waiting | None:
    """Return whom the order waits for; None if it waits for nothing. `links` are rows of its links,
    at least of those that wait for more than their payer.
    """
    own = of_order(order)
    parts = [own] if own else []
    if order["decided_at"] is None and order["state"] != "FAILED" and not _is_history(order):
        parts += _joined(_of_open_links(order, links))
    if not parts:
        return None
    parts.sort(key=lambda part: PARTIES.index(part.waits_for))
    return Waiting(
        tuple(dict.fromkeys(part.waits_for for part in parts)),
        min(part.since for part in parts),
        f"waits {'; '.join(part.text(order['provider']) for part in parts)}",
    )


def of_order(order: OrderStatus) -> Part | None:
    """Return what the order waits for by its own row, besides its open links."""
    if order["state"] in ("EMPTY", "UNKNOWN") or _is_history(order):
        return None
    if order["state"] == "FAILED":
        return Part("failed", order["changed_at"], detail=order["failure"] or "")
    if order["decided_at"] is not None:
        return _of_decided(order, order["decided_at"])
    paid = [link for link in order["links"] if link["status"] == "PAID"]
    since = min((at for link in paid if (at := link["paid_at"])), default=order["changed_at"])
    missing = (order["links_in_order"] or 0) - len(order["links"])
    if missing > 0:
        count = f"{missing:,} more {'link' if missing == 1 else 'links'}"
        return Part("registration", since, detail=count)
    if any(link["status"] not in ENDED for link in order["links"]):
        return None
    if not paid:
        ended = ": all its links have ended unpaid" if order["links"] else ""
        return Part("payment", order["changed_at"], detail=ended)
    if awaited := tuple(link["link_id"] for link in paid if link["awaits_details"]):
        return Part("amount", order["details_awaited_since"] or since, awaited)
    return Part("worker", order["changed_at"])


def _is_history(order: OrderStatus) -> bool:
    """Whether the order was closed elsewhere, before its links were imported."""
    return order["decided_at"] is None and was_closed_elsewhere(order)


def _of_decided(order: OrderStatus, decided_at: int) -> Part | None:
    """Return what follows the close. Where no service reports it, an order is closed by the
    decision: its settlement is expected at once.
    """
    steps, settlements = order["steps"], order["settlements"]
    if not steps and not settlements:
        return Part("close_report", decided_at)
    if "REQUESTED" in settlements and "CONFIRMED" not in settlements:
        return Part("settle_report", max([settlements["REQUESTED"], *steps.values()]))
    return None


def of_link(link: LinkStatus) -> Part | None:
    """Return what an open link of an order waits for; None while that is the payer, and for a link
    that has ended or belongs to no order.
    """
    if link["status"] in ENDED or not link["verified"] or link["order_from"] == "AWAITED":
        return None
    ids, claimed_at, answered_at = (link["link_id"],), link["claimed_at"], link["looked_up_at"]
    latest = max(link["times"].values(), default=link["first_seen_at"])
    if "CLAIM_DENIED" in link["anomalies"]:
        return Part("claim_denied", claimed_at or latest, ids)
    if "UNDERPAID" in link["anomalies"]:
        return Part("underpaid", latest, ids)
    if claimed_at is not None and claimed_at > (answered_at or 0):
        return Part("claimed", claimed_at, ids)
    if "STALE" in link["anomalies"]:
        return Part("stale", answered_at or latest, ids)
    if link["status"] == "PROCESSING":
        return Part("processing", latest, ids, f" ({link['reason']})" if link["reason"] else "")
    return None


def _of_open_links(order: OrderStatus, links: Iterable[LinkStatus]) -> Iterator[Part]:
    known = {link["link_id"]: of_link(link) for link in links}
    for link in order["links"]:
        if link["status"] not in ENDED:
            yield known.get(link["link_id"]) or _of_order_link(order, link)


def _of_order_link(order: OrderStatus, link: OrderLink) -> Part:
    cause = "processing" if link["status"] == "PROCESSING" else "payer"
    return Part(cause, order["changed_at"], (link["link_id"],))


def _joined(parts: Iterable[Part]) -> list[Part]:
    """Return one part for all links that wait for the same, since the earliest time."""
    joined: dict[tuple[str, str], Part] = {}
    for part in parts:
        key = part.cause, part.detail
        if before := joined.get(key):
            since, links = min(before.since, part.since), (*before.links, *part.links)
            part = part._replace(since=since, links=links)
        joined[key] = part
    return list(joined.values())


def _minute(micros: int) -> str:
    try:
        return f"{_EPOCH + timedelta(microseconds=micros):%Y-%m-%d %H:%M} UTC"
    except OverflowError:
        return "an unknown time"
