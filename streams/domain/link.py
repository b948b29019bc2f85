"""The fold: all events of a link, in any order and however often, make one row.

The row is a join-semilattice: statuses, claims, payments and amounts only grow (earliest time,
largest amount, union of ids), and everything else is derived from them. So folding commutes,
associates and is idempotent. Two things depend on arrival and are meant to: times of arrival, and
the last registration."""

from typing import cast

from schemas.records import (
    ENDED,
    AnomalyKind,
    LinkEvent,
    LinkStatus,
    OrderFrom,
    Payment,
    Status,
)
from streams.domain.rules import COVERAGE_RANK, ENDINGS, RANK, ProviderRules

# Kinds that stand in the row because an event once said so; all others are derived from the row.
_REPORTED: frozenset[AnomalyKind] = frozenset(
    {"UNDERPAID", "OVERPAID", "CLAIM_DENIED", "STALE", "LATE_LINK"}
)
_MONEY_SEEN = frozenset({"PAID", "SETTLED"})
_ACCEPTED_SEEN = frozenset({"EXECUTED", "PAID", "SETTLED"})


def fold(row: LinkStatus | None, event: LinkEvent, rules: ProviderRules) -> LinkStatus:
    """The row after `event`; the very same object when the event tells nothing new."""
    before = row or _blank(event)
    after = before.copy()
    _learn_status(after, event)
    _learn_money(after, event)
    _learn_payment(after, event)
    _learn_asides(after, event)
    _derive(after, rules, was_paid=before["status"] == "PAID")
    if row is not None and after == row:
        return row
    after["version"] = before["version"] + 1
    after["changed_at"] = max(before["changed_at"], event["received_at"])
    return after


def _blank(event: LinkEvent) -> LinkStatus:
    return {
        "status": "UNKNOWN",
        "provider": event["provider"],
        "link_id": event["link_id"],
        "claimed_status": None,
        "verified": False,
        "order_id": event["link_id"],
        "order_from": "AWAITED",
        "payment_id": None,
        "payment_ids": [],
        "payments": [],
        "amount_minor": None,
        "received_minor": None,
        "currency": None,
        "coverage": "NONE",
        "anomalies": [],
        "first_seen_at": event["received_at"],
        "changed_at": event["received_at"],
        "times": {},
        "claims": {},
        "looked_up_at": None,
        "registration": None,
        "provider_order_id": None,
        "version": 0,
    }


def _learn_status(row: LinkStatus, event: LinkEvent) -> None:
    """A verified status counts; an unverified one is a claim. UNKNOWN says nothing of the
    status.
    """
    row["first_seen_at"] = min(row["first_seen_at"], event["received_at"])
    status = event["status"]
    if status == "UNKNOWN":
        return
    at = event["occurred_at"]
    if at is None:
        at = event["received_at"]
    known = row["times"] if event["verified"] else row["claims"]
    earliest = known.get(status)
    if earliest is not None and earliest <= at:
        return
    grown = {**known, status: at}
    if event["verified"]:
        row["times"] = grown
        if earliest is None and RANK[status] > RANK[row["status"]]:
            row["status"] = status
    else:
        row["claims"] = grown


def _learn_money(row: LinkStatus, event: LinkEvent) -> None:
    """Amounts come only from what is verified; of differing ones the largest, so that order does
    not matter.
    """
    if not event["verified"]:
        return
    amount, received = event["amount_minor"], event["received_minor"]
    if amount is not None:
        mine = (-1 if row["amount_minor"] is None else row["amount_minor"], row["currency"] or "")
        theirs = (amount, event["currency"] or "")
        if theirs > mine:
            row["amount_minor"], row["currency"] = amount, event["currency"]
    if received is not None:
        row["received_minor"] = max(received, row["received_minor"] or 0)
    coverage = event["coverage"]
    if coverage is not None and COVERAGE_RANK[coverage] > COVERAGE_RANK[row["coverage"]]:
        row["coverage"] = coverage
    if coverage in ("UNDERPAID", "OVERPAID"):
        _report(row, cast("AnomalyKind", coverage))


def _learn_payment(row: LinkStatus, event: LinkEvent) -> None:
    payment_id = event["payment_id"]
    if payment_id is None or not event["verified"]:
        return
    if payment_id not in row["payment_ids"]:
        row["payment_ids"] = sorted([*row["payment_ids"], payment_id])
    said = event["payment_status"]
    if said is None:
        return
    seen = next((p["seen"] for p in row["payments"] if p["payment_id"] == payment_id), [])
    if said in seen:
        return
    grown: Payment = {"payment_id": payment_id, "seen": sorted([*seen, said])}
    others = [p for p in row["payments"] if p["payment_id"] != payment_id]
    row["payments"] = sorted([*others, grown], key=lambda payment: payment["payment_id"])


def _learn_asides(row: LinkStatus, event: LinkEvent) -> None:
    """The registration, the provider's order, when it was last asked, and what it denied."""
    if event["registration"] is not None:
        row["registration"] = event["registration"]
    order_id = event["order_id"]
    if order_id is not None and event["verified"]:
        known = row["provider_order_id"]
        row["provider_order_id"] = order_id if known is None else min(known, order_id)
    if event["source"] in ("lookup", "poll"):
        row["looked_up_at"] = max(event["received_at"], row["looked_up_at"] or 0)
    if event["denies"] is not None:
        _report(row, "CLAIM_DENIED")


def _report(row: LinkStatus, kind: AnomalyKind) -> None:
    if kind not in row["anomalies"]:
        row["anomalies"] = sorted([*row["anomalies"], kind])


def _derive(row: LinkStatus, rules: ProviderRules, was_paid: bool) -> None:
    row["verified"] = bool(row["times"])
    row["claimed_status"] = _claim_ahead(row)
    if row["status"] == "PAID" and COVERAGE_RANK[row["coverage"]] < COVERAGE_RANK["PAID"]:
        row["coverage"] = "PAID"
    if row["payment_ids"]:
        row["payment_id"] = _paying_payment(row)
    _derive_order(row, rules, was_paid)
    kinds = _derived_anomalies(row, rules)
    if kinds or row["anomalies"]:
        reported = [kind for kind in row["anomalies"] if kind in _REPORTED]
        row["anomalies"] = sorted({*reported, *kinds})


def _claim_ahead(row: LinkStatus) -> Status | None:
    claims = row["claims"]
    if not claims:
        return None
    highest = max(claims, key=RANK.__getitem__)
    return highest if RANK[highest] > RANK[row["status"]] else None


def _paying_payment(row: LinkStatus) -> str | None:
    paid = [p["payment_id"] for p in row["payments"] if not _MONEY_SEEN.isdisjoint(p["seen"])]
    if paid:
        return paid[0]
    return row["payment_ids"][0] if len(row["payment_ids"]) == 1 else None


def _derive_order(row: LinkStatus, rules: ProviderRules, was_paid: bool) -> None:
    order_id, order_from = _named_order(row, rules)
    if was_paid and row["order_from"] != "AWAITED" and order_id != row["order_id"]:
        # The link may already be in a close of its order: it never counts in a second one.
        _report(row, "LATE_LINK")
        return
    row["order_id"], row["order_from"] = order_id, order_from


def _named_order(row: LinkStatus, rules: ProviderRules) -> tuple[str, OrderFrom]:
    registration = row["registration"]
    if rules.order_from == "lookup":
        if row["provider_order_id"] is not None:
            return row["provider_order_id"], "LOOKUP"
        if row["looked_up_at"] is None:
            return row["link_id"], "AWAITED"
    if rules.order_from == "registration" and registration is None:
        return row["link_id"], "AWAITED"
    if registration is not None and registration["order_id"] is not None:
        return registration["order_id"], "REGISTRATION"
    return row["link_id"], "SELF"


def _derived_anomalies(row: LinkStatus, rules: ProviderRules) -> list[AnomalyKind]:
    found: list[AnomalyKind] = []
    if len(row["times"]) > 1:
        endings = ENDINGS & row["times"].keys()
        if len(endings) > 1:
            found.append("CONFLICTING_END")
        if endings and "PAID" in row["times"]:
            found.append("PAID_AFTER_END")
    if rules.ends_for_good and _is_denied_unasked(row):
        found.append("CLAIM_DENIED")
    if row["payments"]:
        found += _payment_anomalies(row["payments"])
    if row["coverage"] == "UNKNOWN" or (row["status"] == "PAID" and _amounts_differ(row)):
        found.append("AMOUNT_MISMATCH")
    return found


def _is_denied_unasked(row: LinkStatus) -> bool:
    """Whether an ending is claimed above one that was told for good. It compares what only grows,
    so that it does not matter which came first.
    """
    told = [RANK[status] for status in ENDINGS & row["times"].keys()]
    return bool(told) and any(RANK[c] > min(told) for c in ENDED & row["claims"].keys())


def _payment_anomalies(payments: list[Payment]) -> list[AnomalyKind]:
    found: list[AnomalyKind] = []
    if sum(not _MONEY_SEEN.isdisjoint(payment["seen"]) for payment in payments) > 1:
        found.append("SECOND_PAYMENT")
    if any("FAILED" in p["seen"] and not _ACCEPTED_SEEN.isdisjoint(p["seen"]) for p in payments):
        found.append("PAYMENT_REVERSED")
    return found


def _amounts_differ(row: LinkStatus) -> bool:
    registration = row["registration"]
    if registration is None or registration["amount_minor"] is None or row["amount_minor"] is None:
        return False
    asked = (registration["amount_minor"], registration["currency"])
    return asked != (row["amount_minor"], row["currency"] or registration["currency"])
