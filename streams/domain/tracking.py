"""What follows from an event: the new row, and what others must hear of it."""

from typing import NamedTuple

from schemas.ids import event_id
from schemas.money import in_words
from schemas.records import (
    ENDED,
    Anomaly,
    AnomalyKind,
    LinkEvent,
    LinkStatus,
    LookupReason,
    LookupRequest,
    OrderEvent,
    OrderLink,
    Status,
)
from streams.domain.link import fold
from streams.domain.polling import SECOND, is_ours, is_over, is_settled_for_good
from streams.domain.rules import RANK, ProviderRules

# How long after an answer a repeated claim is worth another question.
_ASKED_ANEW_AFTER = 60 * SECOND


class Tracked(NamedTuple):
    """The outcome of one event. `row` is the very object given when nothing changed."""

    row: LinkStatus
    anomalies: tuple[Anomaly, ...] = ()
    lookup: LookupRequest | None = None
    orders: tuple[OrderEvent, ...] = ()


def track(row: LinkStatus | None, event: LinkEvent, rules: ProviderRules) -> Tracked:
    """Folds `event` into `row` and says what follows. A repeat or a stale event changes nothing and
    emits nothing, but for a question where a claim is made again long after it was not confirmed.
    """
    after = fold(row, event, rules)
    if after is row:
        return Tracked(after, lookup=_question_anew(after, event, rules))
    return Tracked(
        after,
        _new_anomalies(row, after, event),
        _question(row, after, event, rules),
        _order_events(row, after, event["received_at"]),
    )


def repaired(before: LinkStatus | None, after: LinkStatus, event: LinkEvent) -> bool:
    """Whether polling has learned the link's end where no callback told of it."""
    ended_before = before is not None and before["status"] in ENDED
    claimed = after["status"] in after["claims"]
    return (
        event["source"] == "poll" and after["status"] in ENDED and not ended_before and not claimed
    )


def _new_anomalies(
    before: LinkStatus | None, after: LinkStatus, event: LinkEvent
) -> tuple[Anomaly, ...]:
    known = before["anomalies"] if before else []
    if after["anomalies"] == known:
        return ()
    return tuple(
        anomaly(after, kind, _evidence(kind, after, event), event["received_at"])
        for kind in after["anomalies"]
        if kind not in known
    )


def anomaly(row: LinkStatus, kind: AnomalyKind, detail: str, at: int) -> Anomaly:
    """An anomaly of a link; one id for each link and kind, so that it is told once."""
    return {
        "event_id": event_id("anomaly", row["provider"], row["link_id"], kind),
        "provider": row["provider"],
        "link_id": row["link_id"],
        "kind": kind,
        "detail": detail,
        "at": at,
    }


def _evidence(kind: AnomalyKind, row: LinkStatus, event: LinkEvent) -> str:
    currency, registration = row["currency"], row["registration"]
    asked = in_words(row["amount_minor"], currency)
    received = in_words(row["received_minor"], currency)
    registered = registration and in_words(registration["amount_minor"], registration["currency"])
    money = f"asked {asked}, received {received}"
    payments = (f"{p['payment_id']} {', '.join(p['seen']).lower()}" for p in row["payments"])
    mismatch = f"registered {registered}, paid {asked}"
    texts: dict[AnomalyKind, str] = {
        "PAID_AFTER_END": f"statuses reported: {', '.join(sorted(row['times']))}",
        "CONFLICTING_END": f"statuses reported: {', '.join(sorted(row['times']))}",
        "UNDERPAID": money,
        "OVERPAID": money,
        "SECOND_PAYMENT": f"payments: {', '.join(row['payment_ids'])}",
        "PAYMENT_REVERSED": f"payments: {'; '.join(payments)}",
        "CLAIM_DENIED": _denial(row, event),
        "AMOUNT_MISMATCH": (row["coverage"] == "UNKNOWN" and event["reason"]) or mismatch,
        "LATE_LINK": f"paid in order {row['order_id']}, then named for another: registered "
        f"{registration and registration['order_id']}, provider {row['provider_order_id']}",
    }
    return f"{texts.get(kind, '')} [{event['origin']}]"


def _denial(row: LinkStatus, event: LinkEvent) -> str:
    if event["denies"] is not None:
        return f"claimed {event['denies']}, the provider says {event['provider_status']}"
    return f"claimed {row['claimed_status']}, the provider had said {row['status']} for good"


def _question(
    before: LinkStatus | None, after: LinkStatus, event: LinkEvent, rules: ProviderRules
) -> LookupRequest | None:
    """What to ask the provider now: a new claim is to be confirmed, a payment's details are to be
    had.
    """
    if not rules.can_look_up:
        return None
    claimed = event["status"]
    if not event["verified"]:
        known = before is not None and claimed in before["claims"]
        if known or RANK[claimed] <= RANK[after["status"]] or is_settled_for_good(after, rules):
            return None
        return lookup_request(after, "CLAIM", event["received_at"], claimed)
    became_paid = after["status"] == "PAID" and (before is None or before["status"] != "PAID")
    lacks_details = after["amount_minor"] is None or after["order_from"] == "AWAITED"
    if became_paid and lacks_details and after["looked_up_at"] is None:
        return lookup_request(after, "DETAILS", event["received_at"])
    return None


def _question_anew(row: LinkStatus, event: LinkEvent, rules: ProviderRules) -> LookupRequest | None:
    """A claim that the provider did not confirm may be true by the time it is repeated: else who
    forges one early would keep the true one from being heard. Only of links not invented.
    """
    claimed, asked = event["status"], row["looked_up_at"]
    if event["verified"] or claimed not in ENDED or not rules.can_look_up:
        return None
    if is_over(row) or not is_ours(row) or asked is None:
        return None
    if event["received_at"] < asked + _ASKED_ANEW_AFTER:
        return None
    return lookup_request(row, "CLAIM", event["received_at"], claimed)


def lookup_request(
    row: LinkStatus, reason: LookupReason, at: int, claimed: Status | None = None
) -> LookupRequest:
    """A question to the provider about this link."""
    return {
        "request_id": event_id("lookup", row["provider"], row["link_id"], reason, claimed, at),
        "provider": row["provider"],
        "link_id": row["link_id"],
        "reason": reason,
        "claimed_status": claimed,
        "payment_id": row["payment_id"],
        "issued": is_ours(row),
        "requested_at": at,
    }


def _order_events(before: LinkStatus | None, after: LinkStatus, at: int) -> tuple[OrderEvent, ...]:
    """What the orders concerned must hear: the link as it now stands, and that it left another
    order.
    """
    seen, now = (before and _as_order_sees_it(before)), _as_order_sees_it(after)
    declared = _declared(after)
    moved = before is not None and before["order_id"] != after["order_id"]
    events: list[OrderEvent] = []
    if before is not None and seen is not None and moved:
        events.append(_order_event(before, at, left=True))
    if now is not None and (moved or now != seen or declared != (before and _declared(before))):
        events.append(_order_event(after, at, link=now, declared=declared))
    return tuple(events)


def _declared(row: LinkStatus) -> int | None:
    return row["registration"]["links_in_order"] if row["registration"] else None


def _order_event(
    row: LinkStatus,
    at: int,
    link: OrderLink | None = None,
    declared: int | None = None,
    left: bool = False,
) -> OrderEvent:
    return {
        "provider": row["provider"],
        "order_id": row["order_id"],
        "link": link,
        "left_link_id": row["link_id"] if left else None,
        "links_in_order": declared,
        "update": None,
        "at": at,
    }


def _as_order_sees_it(row: LinkStatus) -> OrderLink | None:
    """The link as its order counts it, or None while it counts in none.

    A link that is an order of its own concerns nobody until it is paid, so nothing is said before.
    """
    if row["order_from"] == "AWAITED" or not row["verified"]:
        return None
    if row["order_from"] == "SELF" and row["status"] != "PAID":
        return None
    registration = row["registration"]
    amount, currency = row["amount_minor"], row["currency"]
    if amount is None and registration is not None:
        amount, currency = registration["amount_minor"], registration["currency"]
    return {
        "link_id": row["link_id"],
        "status": row["status"],
        "payment_id": row["payment_id"],
        "amount_minor": amount,
        "currency": currency,
        "paid_at": row["times"].get("PAID"),
        "settled": _is_settled(row),
    }


def _is_settled(row: LinkStatus) -> bool:
    return any(
        "SETTLED" in payment["seen"]
        for payment in row["payments"]
        if payment["payment_id"] == row["payment_id"]
    )
