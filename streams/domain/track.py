"""What follows from a link event: the new row, anomalies, a lookup, news for orders."""

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
from schemas.refund_records import LinkRefund, Refund
from streams.domain.amounts import amount_of, awaits_details
from streams.domain.anomaly import anomaly
from streams.domain.link_status import claimed_statuses, fold, has_ended, is_final, is_issued
from streams.domain.polling import ASK_AGAIN_AFTER
from streams.domain.refund_news import NONE, refund_lookup, refund_news, reversals_in_words
from streams.domain.registrations import links_in_order, registered_order
from streams.domain.rules import RANK, ProviderRules


class TrackOutcome(NamedTuple):
    """`row` is the input row itself when nothing changed. All else is to be published."""

    row: LinkStatus
    anomalies: tuple[Anomaly, ...] = ()
    lookup: LookupRequest | None = None
    orders: tuple[OrderEvent, ...] = ()
    refunds: tuple[Refund, ...] = ()
    # The lookups of amounts of refunds.
    refund_lookups: tuple[LookupRequest, ...] = ()


# `refund_news` raises these, one of each refund.
_OF_REFUNDS: frozenset[AnomalyKind] = frozenset({"REFUND_FAILED", "DISPUTED"})


def track(row: LinkStatus | None, event: LinkEvent, rules: ProviderRules) -> TrackOutcome:
    """Return the link's row after `event`, and what follows from it.

    A repeated or outdated event changes no status. It can only cause a lookup, when it repeats a
    claim after the provider did not confirm it.
    """
    after = fold(row, event, rules)
    lookup = _lookup(row, after, event, rules) or _lookup_again(row, after, event, rules)
    if after is row:
        return TrackOutcome(after, lookup=lookup)
    news = refund_news(row, after, event, rules) if after["refunds"] else NONE
    return TrackOutcome(
        after,
        _new_anomalies(row, after, event) + news.anomalies,
        lookup,
        _order_events(row, after, rules),
        news.refunds,
        tuple(_refund_lookup(after, event, refund) for refund in news.unknown),
    )


def is_repaired(before: LinkStatus | None, after: LinkStatus, event: LinkEvent) -> bool:
    """Whether polling found the link's end, and no callback had reported it."""
    ended_before = before is not None and before["status"] in ENDED
    claimed = before is not None and after["status"] in claimed_statuses(before)
    return (
        event["source"] == "poll" and after["status"] in ENDED and not ended_before and not claimed
    )


def _new_anomalies(
    before: LinkStatus | None, after: LinkStatus, event: LinkEvent
) -> tuple[Anomaly, ...]:
    known = before["anomalies"] if before else []
    if after["anomalies"] == known:
        return ()
    provider, link_id, at = after["provider"], after["link_id"], event["received_at"]
    return tuple(
        anomaly(provider, link_id, kind, _evidence(kind, after, event), at)
        for kind in after["anomalies"]
        if kind not in known and kind not in _OF_REFUNDS
    )


def _evidence(kind: AnomalyKind, row: LinkStatus, event: LinkEvent) -> str:
    return f"{_detail(kind, row, event)} [{event['origin']}]"


def _detail(kind: AnomalyKind, row: LinkStatus, event: LinkEvent) -> str:
    amount = in_words(row["amount_minor"], row["currency"])
    match kind:
        case "PAID_AFTER_END" | "CONFLICTING_END":
            return f"statuses reported: {', '.join(sorted(row['times']))}"
        case "UNDERPAID" | "OVERPAID":
            return f"asked {amount}, received {in_words(row['received_minor'], row['currency'])}"
        case "SECOND_PAYMENT":
            return f"payments: {', '.join(row['payment_ids'])}"
        case "PAYMENT_REVERSED":
            seen = (f"{p['payment_id']} {', '.join(p['seen']).lower()}" for p in row["payments"])
            return f"payments: {'; '.join(seen)}{reversals_in_words(row)}"
        case "REFUND_EXCEEDS_PAYMENT":
            refunded = in_words(row["refunded_minor"], row["currency"])
            return f"paid {amount}, refunded {refunded}"
        case "CLAIM_DENIED":
            return _denial(row, event)
        case "AMOUNT_MISMATCH" if row["coverage"] == "UNKNOWN" and event["reason"]:
            return event["reason"]
        case "AMOUNT_MISMATCH" if _registered_amount(row) in (None, amount):
            return f"asked {amount}, received {in_words(row['received_minor'], row['currency'])}"
        case "AMOUNT_MISMATCH":
            return f"registered {_registered_amount(row)}, paid {amount}"
        case "LATE_LINK":
            return f"paid in order {row['order_id']}, then {_other_orders(row)}"
    return ""


def _other_orders(row: LinkStatus) -> str:
    names = (
        ("registered", registered_order(row)),
        ("named by the provider", row["provider_order_id"]),
    )
    others = (f"{how} for {name}" for how, name in names if name not in (None, row["order_id"]))
    return " and ".join(others)


def _registered_amount(row: LinkStatus) -> str | None:
    registration = row["registration"]
    return registration and in_words(registration["amount_minor"], registration["currency"])


def _denial(row: LinkStatus, event: LinkEvent) -> str:
    if event["denies"] is not None:
        return f"claimed {event['denies']}, but the provider reports {event['provider_status']}"
    return f"claimed {row['claimed_status']} after the provider's final status {row['status']}"


def _lookup(
    before: LinkStatus | None, after: LinkStatus, event: LinkEvent, rules: ProviderRules
) -> LookupRequest | None:
    """Return the lookup that confirms a new claim, or that gets the details of a payment."""
    if not rules.can_look_up:
        return None
    if _is_new_claim(before, after, event) and not is_final(after, rules):
        return lookup_request(after, "CLAIM", event["received_at"], event["status"])
    if event["verified"] and _lacks_payment_details(before, after, rules):
        return lookup_request(after, "DETAILS", event["received_at"], "PAID")
    return None


def _is_new_claim(before: LinkStatus | None, after: LinkStatus, event: LinkEvent) -> bool:
    """Whether the event is the first to claim this status, which is above the verified one."""
    claims = claimed_statuses(before) if before else set()
    status = event["status"]
    return (
        _is_unproven(after, event) and status not in claims and RANK[status] > RANK[after["status"]]
    )


def _is_unproven(row: LinkStatus, event: LinkEvent) -> bool:
    return not event["verified"] or any(e["event_id"] == event["event_id"] for e in row["held"])


def _lacks_payment_details(
    before: LinkStatus | None, after: LinkStatus, rules: ProviderRules
) -> bool:
    """Whether the link was just paid, and no lookup has told its amount or its order, or a lookup
    has denied that it is paid; or whether a later event has left its amount without a currency.
    """
    if after["status"] != "PAID":
        return False
    if before is not None and before["status"] == "PAID":
        return awaits_details(after, rules) and not awaits_details(before, rules)
    lacks_order = after["order_from"] == "AWAITED" and after["looked_up_at"] is None
    denied = after["judged"].get("PAID") is False
    return lacks_order or denied or awaits_details(after, rules)


def _lookup_again(
    before: LinkStatus | None, after: LinkStatus, event: LinkEvent, rules: ProviderRules
) -> LookupRequest | None:
    """Return another lookup for a repeated claim of an ending that was not confirmed.

    The claim may be true by now: otherwise a forged early callback would hide the true one. If the
    last lookup was just now, `next_lookup_at` says when the poller asks again.
    """
    looked_up_at = before["looked_up_at"] if before else None
    if not _is_unproven(after, event) or event["status"] not in ENDED or looked_up_at is None:
        return None
    if not rules.can_look_up or has_ended(after):
        return None
    if event["received_at"] < looked_up_at + ASK_AGAIN_AFTER:
        return None
    return lookup_request(after, "CLAIM", event["received_at"], event["status"])


def _refund_lookup(row: LinkStatus, event: LinkEvent, refund: LinkRefund) -> LookupRequest:
    return refund_lookup(lookup_request(row, "REFUND", event["received_at"]), refund)


def lookup_request(
    row: LinkStatus, reason: LookupReason, at: int, claimed: Status | None = None
) -> LookupRequest:
    """Return a request to look the link up at the provider."""
    return {
        "request_id": event_id("lookup", row["provider"], row["link_id"], reason, claimed, at),
        "provider": row["provider"],
        "link_id": row["link_id"],
        "reason": reason,
        "claimed_status": claimed,
        "payment_id": row["payment_id"],
        "refund": None,
        # A signature of the provider keeps forged events out, even if the link may be another's.
        "issued": is_issued(row) or bool(row["held"]),
        "requested_at": at,
    }


def _order_events(
    before: LinkStatus | None, after: LinkStatus, rules: ProviderRules
) -> tuple[OrderEvent, ...]:
    """Return what orders need to know: the link as it is now, and that it left another order."""
    # The event may be older than the row: a registration, for example, that is read after the
    # payment. An order must not close before what it closes for.
    at = after["changed_at"]
    old, new = (before and _order_link(before, rules)), _order_link(after, rules)
    moved = before is not None and before["order_id"] != after["order_id"]
    events: list[OrderEvent] = []
    if before is not None and old is not None and moved:
        events.append(_order_event(before, at, left_for=after["order_id"]))
    if new is not None and (moved or new != old):
        events.append(_order_event(after, at, link=new))
    return tuple(events)


def _order_event(
    row: LinkStatus, at: int, link: OrderLink | None = None, left_for: str | None = None
) -> OrderEvent:
    return {
        "provider": row["provider"],
        "order_id": row["order_id"],
        "link": link,
        "left_link_id": None if left_for is None else row["link_id"],
        "left_for": left_for,
        "update": None,
        "at": at,
    }


def _order_link(row: LinkStatus, rules: ProviderRules) -> OrderLink | None:
    """Return the link as its order counts it, or None while it counts in no order.

    A link that is an order of its own counts only once it is paid.
    """
    if row["order_from"] == "AWAITED" or not row["verified"]:
        return None
    if row["order_from"] == "SELF" and row["status"] != "PAID":
        return None
    amount, currency = amount_of(row)
    return {
        "link_id": row["link_id"],
        "status": row["status"],
        "payment_id": row["payment_id"],
        "amount_minor": amount,
        "currency": currency,
        "paid_at": row["times"].get("PAID"),
        "settled": _is_settled(row),
        "awaits_details": awaits_details(row, rules),
        "links_in_order": links_in_order(row),
        "closed_elsewhere": row["closed_elsewhere"],
    }


def _is_settled(row: LinkStatus) -> bool:
    return any(
        "SETTLED" in payment["seen"]
        for payment in row["payments"]
        if payment["payment_id"] == row["payment_id"]
    )
