"""Orders: when one may be closed, and where its money stands."""

from typing import NamedTuple

from schemas.ids import event_id
from schemas.money import in_words
from schemas.records import (
    ENDED,
    MOST_LINKS,
    Anomaly,
    AnomalyKind,
    OrderClose,
    OrderEvent,
    OrderLink,
    OrderStatus,
    Settlement,
    SettlementKind,
)
from streams.domain.rules import STATE_AFTER, ProviderRules, utc


class Ordered(NamedTuple):
    """The outcome of one order event. `row` is the very object given when nothing changed."""

    row: OrderStatus
    close: OrderClose | None = None
    settlements: tuple[Settlement, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()


def order(row: OrderStatus | None, event: OrderEvent, rules: ProviderRules) -> Ordered:
    """Takes `event` into the order and decides. An order is closed once; a kind of settlement is
    told once.

    A decision bears the latest time heard of so far, so that it is the same whichever of the events
    that led to it came last. Raises ValueError for one link too many.
    """
    before = row or _blank(event)
    after = before.copy()
    at = max(before["changed_at"], event["at"])
    _take_link(after, event)
    _take_step(after, event)
    anomalies = _late_links(before, after, event["at"])
    close = _decide(after, at) if after["decided_at"] is None else None
    if close is not None:
        anomalies += _mixed_currencies(after, close)
    settlements = _settlements(after, at, rules)
    _derive_state(after)
    if row is not None and after == row:
        return Ordered(row)
    after["version"] = before["version"] + 1
    after["changed_at"] = at
    return Ordered(after, close, tuple(settlements), tuple(anomalies))


def _blank(event: OrderEvent) -> OrderStatus:
    return {
        "provider": event["provider"],
        "order_id": event["order_id"],
        "state": "OPEN",
        "links": [],
        "links_in_order": None,
        "closed_link_ids": [],
        "decided_at": None,
        "total_minor": None,
        "currency": None,
        "settlements": {},
        "steps": {},
        "failure": None,
        "changed_at": event["at"],
        "version": 0,
    }


def _take_link(row: OrderStatus, event: OrderEvent) -> None:
    link = event["link"]
    gone = link["link_id"] if link else event["left_link_id"]
    if gone is not None:
        others = [known for known in row["links"] if known["link_id"] != gone]
        kept = [*others, link] if link else others
        if len(kept) > max(MOST_LINKS, len(row["links"])):
            raise ValueError(f"order {row['order_id']} has {MOST_LINKS} links already")
        row["links"] = sorted(kept, key=lambda known: known["link_id"])
    declared = event["links_in_order"]
    if declared is not None:
        row["links_in_order"] = max(declared, row["links_in_order"] or 0)


def _take_step(row: OrderStatus, event: OrderEvent) -> None:
    update = event["update"]
    if update is None:
        return
    if update["step"] == "FAILED":
        row["failure"] = update["reason"] or "no reason given"
    elif update["step"] not in row["steps"]:
        # Whoever performs the steps got further than the refusal: it is history.
        row["failure"] = None
    row["steps"] = {update["step"]: event["at"], **row["steps"]}


def _decide(row: OrderStatus, at: int) -> OrderClose | None:
    """The close, when a link is paid, none known is open, and as many are known as were
    announced.
    """
    paid = [link for link in row["links"] if link["status"] == "PAID"]
    if not paid or any(link["status"] not in ENDED for link in row["links"]):
        return None
    if len(row["links"]) < (row["links_in_order"] or 1):
        return None
    row["decided_at"] = at
    row["closed_link_ids"] = [link["link_id"] for link in paid]
    row["total_minor"], row["currency"] = _total(paid)
    return {
        "event_id": event_id("order-close", row["provider"], row["order_id"]),
        "provider": row["provider"],
        "order_id": row["order_id"],
        "links": [
            {
                "link_id": link["link_id"],
                "payment_id": link["payment_id"],
                "amount_minor": link["amount_minor"],
                "currency": link["currency"],
                "paid_at": link["paid_at"],
            }
            for link in paid
        ],
        "total_minor": row["total_minor"],
        "currency": row["currency"],
        "decided_at": at,
    }


def _total(links: list[OrderLink]) -> tuple[int | None, str | None]:
    """Sum and currency of the links; nothing when an amount is missing or currencies would be
    mixed.
    """
    currencies = {link["currency"] for link in links}
    amounts = [link["amount_minor"] for link in links if link["amount_minor"] is not None]
    if len(currencies) != 1 or len(amounts) != len(links):
        return None, None
    return sum(amounts), currencies.pop()


def _mixed_currencies(row: OrderStatus, close: OrderClose) -> list[Anomaly]:
    links = close["links"]
    if len({link["currency"] for link in links if link["currency"]}) < 2:
        return []
    paid = ", ".join(f"{k['link_id']} {in_words(k['amount_minor'], k['currency'])}" for k in links)
    detail = f"the links of order {row['order_id']} are in different currencies: {paid}"
    first = links[0]["link_id"]
    return [_anomaly(row, first, "AMOUNT_MISMATCH", row["order_id"], close["decided_at"], detail)]


def _settlements(row: OrderStatus, at: int, rules: ProviderRules) -> list[Settlement]:
    """What is now known of the money of a closed order that was not told before."""
    if row["decided_at"] is None:
        return []
    told: list[Settlement] = []
    for kind in _settlement_kinds(row, rules):
        if kind not in row["settlements"]:
            row["settlements"] = {**row["settlements"], kind: at}
            told.append(_settlement(row, kind, at))
    return told


def _settlement_kinds(row: OrderStatus, rules: ProviderRules) -> list[SettlementKind]:
    if rules.settlement == "by_order":
        kinds: list[SettlementKind] = []
        if "CLOSED" in row["steps"]:
            kinds.append("REQUESTED")
        if "SETTLED" in row["steps"]:
            kinds.append("CONFIRMED")
        return kinds
    counted = [link for link in row["links"] if link["link_id"] in row["closed_link_ids"]]
    if rules.settlement == "by_payment" and all(link["settled"] for link in counted):
        return ["CONFIRMED"]
    return ["EXPECTED"]


def _settlement(row: OrderStatus, kind: SettlementKind, at: int) -> Settlement:
    payments = {
        link["payment_id"]
        for link in row["links"]
        if link["link_id"] in row["closed_link_ids"] and link["payment_id"] is not None
    }
    return {
        "event_id": event_id("settlement", row["provider"], row["order_id"], kind),
        "provider": row["provider"],
        "order_id": row["order_id"],
        "kind": kind,
        "payment_ids": sorted(payments),
        "amount_minor": row["total_minor"],
        "currency": row["currency"],
        "decided_at": at,
    }


def _late_links(before: OrderStatus, after: OrderStatus, at: int) -> list[Anomaly]:
    """Links that turn up, or are paid, after the close: for a person, never a second close.

    Turning up and being paid are two facts, each told once however often the link comes and goes.
    """
    decided_at = before["decided_at"]
    if decided_at is None or after["links"] == before["links"]:
        return []
    known = {link["link_id"]: link for link in before["links"]}
    late: list[Anomaly] = []
    for link in after["links"]:
        if link["link_id"] in after["closed_link_ids"]:
            continue
        old, paid = known.get(link["link_id"]), link["status"] == "PAID"
        if old is None or (paid and old["status"] != "PAID"):
            fact = f"{after['order_id']} paid" if paid else after["order_id"]
            detail = _late(after, link, decided_at)
            late.append(_anomaly(after, link["link_id"], "LATE_LINK", fact, at, detail))
    return late


def _late(row: OrderStatus, link: OrderLink, decided_at: int) -> str:
    closed = ", ".join(row["closed_link_ids"])
    money = (
        f" with {in_words(link['amount_minor'], link['currency'])}"
        if link["status"] == "PAID"
        else ""
    )
    return (
        f"order {row['order_id']} was closed at {utc(decided_at)} with {closed}; "
        f"this link came later and is {link['status']}{money}"
    )


def _anomaly(
    row: OrderStatus, link_id: str, kind: AnomalyKind, fact: str, at: int, detail: str
) -> Anomaly:
    return {
        "event_id": event_id("anomaly", row["provider"], link_id, kind, fact),
        "provider": row["provider"],
        "link_id": link_id,
        "kind": kind,
        "detail": detail,
        "at": at,
    }


def _derive_state(row: OrderStatus) -> None:
    """The furthest step reported; a refusal shows only while nothing further has been reached."""
    row["state"] = "OPEN" if row["decided_at"] is None else "CLOSE_DECIDED"
    for step, state in STATE_AFTER.items():
        if step in row["steps"]:
            row["state"] = state
    if row["failure"] is not None and row["state"] != "SETTLED":
        row["state"] = "FAILED"
