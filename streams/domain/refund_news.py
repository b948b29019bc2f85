"""What follows from a fact about a refund: the event for downstream, anomalies, a lookup."""

from typing import NamedTuple

from schemas.ids import event_id
from schemas.money import in_words
from schemas.records import Anomaly, LinkEvent, LinkStatus, LookupRequest
from schemas.refund_records import LinkRefund, Refund, RefundState, amount_of
from streams.domain.anomaly import anomaly
from streams.domain.refunds import Key, awaits_amount, has_failed, is_dispute, key_of
from streams.domain.rules import ProviderRules

# State and amount: what downstream learns once.
_Published = tuple[RefundState, int | None, str | None]


class RefundNews(NamedTuple):
    """All is to be published."""

    refunds: tuple[Refund, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    # The refunds whose amount the provider's API has to give.
    unknown: tuple[LinkRefund, ...] = ()


NONE = RefundNews()


def refund_news(
    before: LinkStatus | None, after: LinkStatus, event: LinkEvent, rules: ProviderRules
) -> RefundNews:
    """Return what is new about the refunds of a link."""
    if not after["refunds"]:
        return NONE
    old = {key_of(refund): refund for refund in before["refunds"]} if before else {}
    changed = [refund for refund in after["refunds"] if refund != old.get(key_of(refund))]
    return RefundNews(
        _events(before, after, event["received_at"], rules),
        tuple(a for refund in changed for a in _anomalies(old, after, refund, event, rules)),
        tuple(refund for refund in changed if awaits_amount(refund, rules)),
    )


def _events(
    before: LinkStatus | None, after: LinkStatus, at: int, rules: ProviderRules
) -> tuple[Refund, ...]:
    known, now = _published(before, rules), _published(after, rules)
    return tuple(
        _event(after, refund, now[key], at)
        for refund in after["refunds"]
        if (key := key_of(refund)) in now and now[key] != known.get(key)
    )


def _published(row: LinkStatus | None, rules: ProviderRules) -> dict[Key, _Published]:
    """Return what downstream knows: nothing before the payment, and nothing of a refund whose
    amount is on its way.
    """
    if row is None or row["status"] != "PAID":
        return {}
    return {
        key_of(refund): (refund["state"], *_money(row, refund))
        for refund in row["refunds"]
        if refund["state"] != "UNKNOWN" and not awaits_amount(refund, rules)
    }


def _money(row: LinkStatus, refund: LinkRefund) -> tuple[int | None, str | None]:
    """Return the amount and its currency."""
    amount = amount_of(refund, row["amount_minor"])
    if amount is None:
        return None, None
    return amount, refund["currency"] if refund["amount_minor"] is not None else row["currency"]


def _event(row: LinkStatus, refund: LinkRefund, published: _Published, at: int) -> Refund:
    state, amount, currency = published
    link = (row["provider"], row["link_id"])
    times = refund["times"]
    return {
        "event_id": event_id("refund", *link, *key_of(refund), state, amount, currency),
        "provider": row["provider"],
        "link_id": row["link_id"],
        "order_id": None if row["order_from"] == "AWAITED" else row["order_id"],
        "refund_id": refund["refund_id"],
        "kind": refund["kind"],
        "state": state,
        "payment_id": refund["payment_id"],
        "amount_minor": amount,
        "currency": currency,
        "reason": refund["reason"],
        # A refund that was executed and then failed has no report of its return.
        "occurred_at": times[state] if state in times else times["FAILED"],
        "refunded_minor": row["refunded_minor"],
        "disputed_minor": row["disputed_minor"],
        "net_minor": row["net_minor"],
        "at": at,
    }


def _anomalies(
    old: dict[Key, LinkRefund],
    row: LinkStatus,
    refund: LinkRefund,
    event: LinkEvent,
    rules: ProviderRules,
) -> list[Anomaly]:
    """Return an anomaly for each refund that failed, and for each dispute."""
    before, found = old.get(key_of(refund)), list[Anomaly]()

    def is_failure(one: LinkRefund | None) -> bool:
        # The text names the amount, so it waits for it.
        return one is not None and has_failed(one) and not awaits_amount(one, rules)

    link, at = (row["provider"], row["link_id"]), event["received_at"]
    text, origin = _in_words(row, refund), f"[{event['origin']}]"
    if is_failure(refund) and not is_failure(before):
        how = "came back" if refund["state"] == "RETURNED" else "failed"
        detail = f"{text} {how}{_because(refund)} {origin}"
        found.append(anomaly(*link, "REFUND_FAILED", detail, at, *key_of(refund)))
    if is_dispute(refund) and not is_dispute(before):
        detail = f"{text}{_because(refund)} {origin}"
        found.append(anomaly(*link, "DISPUTED", detail, at, *key_of(refund)))
    return found


def _in_words(row: LinkStatus, refund: LinkRefund) -> str:
    amount = in_words(*_money(row, refund))
    return f"{refund['kind'].lower()} {refund['refund_id']} of {amount}"


def _because(refund: LinkRefund) -> str:
    return f": {refund['reason']}" if refund["reason"] else ""


def reversals_in_words(row: LinkStatus) -> str:
    """Return which payments were taken back, and why, for evidence that people read."""
    reversals = [r for r in row["refunds"] if r["kind"] == "REVERSAL"]
    texts = (f"{r['payment_id'] or r['refund_id']}{_because(r)}" for r in reversals)
    return f"; reversed: {', '.join(texts)}" if reversals else ""


def refund_lookup(request: LookupRequest, refund: LinkRefund) -> LookupRequest:
    """Return a lookup of one refund's amount, made of a lookup of its link."""
    identity = (request["provider"], request["link_id"], *key_of(refund), refund["state"])
    return {
        **request,
        "request_id": event_id("lookup", *identity, request["requested_at"]),
        "reason": "REFUND",
        "payment_id": refund["payment_id"],
        "refund": {
            "refund_id": refund["refund_id"],
            "kind": refund["kind"],
            "payment_id": refund["payment_id"],
        },
    }
