"""Orders: when an order may be closed, and where its money stands."""

from typing import NamedTuple

from schemas.ids import event_id
from schemas.records import (
    ENDED,
    MOST_LINKS,
    Anomaly,
    ClosedLink,
    OrderClose,
    OrderCorrection,
    OrderEvent,
    OrderLink,
    OrderState,
    OrderStatus,
    Settlement,
    SettlementKind,
    was_closed_elsewhere,
)
from streams.domain.amounts import total_of
from streams.domain.order_anomalies import anomalies_of_close, late_links
from streams.domain.rules import SETTLEMENT_AFTER, STATE_AFTER, ProviderRules


class OrderOutcome(NamedTuple):
    """`row` is the input row itself when nothing changed. All else is to be published."""

    row: OrderStatus
    close: OrderClose | None = None
    correction: OrderCorrection | None = None
    settlements: tuple[Settlement, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()


def update_order(row: OrderStatus | None, event: OrderEvent, rules: ProviderRules) -> OrderOutcome:
    """Return the order's row after `event`, and the decisions that follow.

    An order is closed once, and each kind of settlement is published once. An order that was closed
    elsewhere, before its links were imported, has neither. The close waits for amounts that were
    asked for. A decision has the latest time of all events so far, so it does not
    depend on which of them came last.

    Raises:
        ValueError: the order would have more than `MOST_LINKS` links.
    """
    before = row or _blank(event)
    after = before.copy()
    _add_link(after, event)
    _add_step(after, event)
    return _decide(before, after, max(before["changed_at"], event["at"]), rules)


def close_without_details(row: OrderStatus, now: int, rules: ProviderRules) -> OrderOutcome:
    """Return the row after the wait for amounts has ended: the order closes with what is known."""
    if row["details_awaited_since"] is None:
        return OrderOutcome(row)
    return _decide(row, row.copy(), max(row["changed_at"], now), rules, wait=False)


def _decide(
    before: OrderStatus, after: OrderStatus, at: int, rules: ProviderRules, *, wait: bool = True
) -> OrderOutcome:
    """Return what follows from the change. With `wait` a close waits for details."""
    anomalies = late_links(before, after, at)
    close, correction = None, None
    if before["decided_at"] is None:
        close = _decide_close(after, at, wait)
    else:
        correction = _correct(before, after, at)
    if close is not None:
        anomalies += anomalies_of_close(after, close)
    settlements = _settlements(after, at, rules)
    _derive_state(after)
    if before["version"] and after == before:
        return OrderOutcome(before)
    after["version"] = before["version"] + 1
    after["changed_at"] = at
    return OrderOutcome(after, close, correction, tuple(settlements), tuple(anomalies))


def _blank(event: OrderEvent) -> OrderStatus:
    return {
        "state": "OPEN",
        "provider": event["provider"],
        "order_id": event["order_id"],
        "links": [],
        "moved_links": {},
        "links_in_order": None,
        "closed_link_ids": [],
        "details_awaited_since": None,
        "decided_at": None,
        "total_minor": None,
        "currency": None,
        "correction_number": 0,
        "settlements": {},
        "steps": {},
        "failure": None,
        "changed_at": event["at"],
        "version": 0,
    }


def _add_link(row: OrderStatus, event: OrderEvent) -> None:
    """Add the link as it is now, or note where it went. What a link that left announced counts no
    more.
    """
    link, left_for = event["link"], event["left_for"]
    link_id = link["link_id"] if link else event["left_link_id"]
    if link_id is None:
        return
    links = [other for other in row["links"] if other["link_id"] != link_id]
    if link:
        links.append(link)
    if len(links) > max(MOST_LINKS, len(row["links"])):
        raise ValueError(f"order {row['order_id']} already has {MOST_LINKS} links")
    row["links"] = sorted(links, key=lambda each: each["link_id"])
    row["moved_links"] = _moved(row["moved_links"], link_id, left_for)
    announced = [n for each in row["links"] if (n := each["links_in_order"]) is not None]
    row["links_in_order"] = max(announced, default=None)


def _moved(moved: dict[str, str], link_id: str, left_for: str | None) -> dict[str, str]:
    """Return the latest moves, at most as many as an order may have links."""
    others = {other: order_id for other, order_id in moved.items() if other != link_id}
    if left_for is None:
        return others
    return dict([*others.items(), (link_id, left_for)][-MOST_LINKS:])


def _add_step(row: OrderStatus, event: OrderEvent) -> None:
    update = event["update"]
    if update is None:
        return
    if update["step"] == "FAILED":
        row["failure"] = update["reason"] or "no reason given"
    elif update["step"] not in row["steps"]:
        # A new step succeeded after the refusal.
        row["failure"] = None
    row["steps"] = {update["step"]: event["at"], **row["steps"]}


def _decide_close(row: OrderStatus, at: int, wait: bool) -> OrderClose | None:
    """Return the close, if it is time for it, and note it in the row.

    A link must be paid, no known link may be open, and all announced links must be known. With
    `wait` the row notes since when only details are missing.
    """
    paid = [link for link in row["links"] if link["status"] == "PAID"]
    if not paid or was_closed_elsewhere(row) or not _have_all_ended(row):
        row["details_awaited_since"] = None
        return None
    if wait and any(link["awaits_details"] for link in paid):
        since = row["details_awaited_since"]
        row["details_awaited_since"] = at if since is None else since
        return None
    row["details_awaited_since"] = None
    row["decided_at"] = at
    row["closed_link_ids"] = [link["link_id"] for link in paid]
    row["total_minor"], row["currency"] = total_of(paid)
    return {
        "event_id": _close_id(row),
        "provider": row["provider"],
        "order_id": row["order_id"],
        "links": [_as_closed(link) for link in paid],
        "total_minor": row["total_minor"],
        "currency": row["currency"],
        "decided_at": at,
    }


def _have_all_ended(row: OrderStatus) -> bool:
    are_known = len(row["links"]) >= (row["links_in_order"] or 1)
    return are_known and all(link["status"] in ENDED for link in row["links"])


def _close_id(row: OrderStatus) -> str:
    return event_id("order-close", row["provider"], row["order_id"])


def _as_closed(link: OrderLink) -> ClosedLink:
    return {
        "link_id": link["link_id"],
        "payment_id": link["payment_id"],
        "amount_minor": link["amount_minor"],
        "currency": link["currency"],
        "paid_at": link["paid_at"],
    }


def _correct(before: OrderStatus, after: OrderStatus, at: int) -> OrderCorrection | None:
    """Return the correction, if the amounts of the closed links are now known, and others than
    before. Note it in the row.
    """
    links = _closed_links(after)
    is_same = [*map(_amount, links)] == [*map(_amount, _closed_links(before))]
    if is_same or any(link["amount_minor"] is None for link in links):
        return None
    after["total_minor"], after["currency"] = total_of(links)
    after["correction_number"] = number = before["correction_number"] + 1
    provider, order_id = after["provider"], after["order_id"]
    return {
        "event_id": event_id("order-correction", provider, order_id, number),
        "provider": provider,
        "order_id": order_id,
        "corrects": [
            _close_id(before),
            *(_settlement_id(before, k) for k in before["settlements"]),
        ],
        "number": number,
        "links": [_as_closed(link) for link in links],
        "total_minor": after["total_minor"],
        "currency": after["currency"],
        "decided_at": at,
    }


def _amount(link: OrderLink) -> tuple[int | None, str | None]:
    return link["amount_minor"], link["currency"]


def _settlements(row: OrderStatus, at: int, rules: ProviderRules) -> list[Settlement]:
    """Return the settlements of a closed order that are not published yet, and note them."""
    if row["decided_at"] is None:
        return []
    new: list[Settlement] = []
    for kind in _settlement_kinds(row, rules):
        if kind not in row["settlements"]:
            row["settlements"] = {**row["settlements"], kind: at}
            new.append(_settlement(row, kind, at))
    return new


def _settlement_kinds(row: OrderStatus, rules: ProviderRules) -> list[SettlementKind]:
    if rules.settlement == "by_order":
        return [kind for step, kind in SETTLEMENT_AFTER.items() if step in row["steps"]]
    if "SETTLED" in row["steps"]:
        return ["CONFIRMED"]
    if rules.settlement == "by_payment" and all(link["settled"] for link in _closed_links(row)):
        return ["CONFIRMED"]
    return ["EXPECTED"]


def _settlement(row: OrderStatus, kind: SettlementKind, at: int) -> Settlement:
    payments = {link["payment_id"] for link in _closed_links(row) if link["payment_id"] is not None}
    return {
        "event_id": _settlement_id(row, kind),
        "provider": row["provider"],
        "order_id": row["order_id"],
        "kind": kind,
        "payment_ids": sorted(payments),
        "amount_minor": row["total_minor"],
        "currency": row["currency"],
        "decided_at": at,
    }


def _settlement_id(row: OrderStatus, kind: SettlementKind) -> str:
    return event_id("settlement", row["provider"], row["order_id"], kind)


def _closed_links(row: OrderStatus) -> list[OrderLink]:
    return [link for link in row["links"] if link["link_id"] in row["closed_link_ids"]]


def _derive_state(row: OrderStatus) -> None:
    """Set the state to the furthest step, or FAILED while no step has succeeded after a refusal. An
    order without a close that all links have left is EMPTY: it waits for nothing. One that has
    never had a link is UNKNOWN: a report with a wrong order id makes no order.
    """
    row["state"] = _state_before_steps(row)
    for step, state in STATE_AFTER.items():
        if step in row["steps"] and row["state"] != "UNKNOWN":
            row["state"] = state
    if row["failure"] is not None and row["state"] != "SETTLED":
        row["state"] = "FAILED"


def _state_before_steps(row: OrderStatus) -> OrderState:
    if row["decided_at"] is not None:
        return "CLOSE_DECIDED"
    if was_closed_elsewhere(row):
        return "CLOSED"
    if row["links"]:
        return "OPEN"
    return "EMPTY" if row["moved_links"] else "UNKNOWN"
