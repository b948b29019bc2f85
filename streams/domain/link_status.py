"""The fold: all events of a link make one row, whatever their order and repeats.

The row is a join-semilattice. Statuses, claims, payments and amounts only grow (earliest time,
largest amount, union of ids), and everything else is derived from them. So folding is commutative,
associative and idempotent. Three things depend on arrival, on purpose: the times of arrival, the
order of a link that is registered for another one after its payment, and which of two registrations
of the same moment counts."""

from typing import cast

from schemas.records import (
    ENDED,
    AnomalyKind,
    LinkEvent,
    LinkStatus,
    Payment,
    Status,
)
from streams.domain import refunds, registrations
from streams.domain.rules import (
    ACCEPTED_SEEN,
    COVERAGE_RANK,
    MONEY_SEEN,
    RANK,
    UNPAID_ENDINGS,
    ProviderRules,
)

# Anomalies that an event reports stay in the row. All others are derived from the row.
_REPORTED: frozenset[AnomalyKind] = frozenset({"UNDERPAID", "OVERPAID", "STALE", "LATE_LINK"})
_LOOKED_UP = ("lookup", "poll", "import")
# The most events of a link that may never be ours.
_MOST_HELD = 20


def fold(row: LinkStatus | None, event: LinkEvent, rules: ProviderRules) -> LinkStatus:
    """Return the link's row after `event`: `row` itself when the event adds nothing."""
    before = row or _blank(event)
    after = before.copy()
    after["first_seen_at"] = min(after["first_seen_at"], event["received_at"])
    if not is_issued(after) and _proves_only_the_provider(event, rules):
        after["held"] = _hold(after["held"], event)
        _add_claimed_at(after, event)
    else:
        _add(after, event)
        if after["held"] and is_issued(after):
            for held in after["held"]:
                _add(after, held)
            after["held"] = []
    _derive(after, rules, before)
    if row is not None and after == row:
        return row
    # The answer to a lookup that tells nothing new is no change of the link.
    if after != {**before, "looked_up_at": after["looked_up_at"]}:
        after["changed_at"] = max(before["changed_at"], event["received_at"])
    after["version"] = before["version"] + 1
    return after


def _blank(event: LinkEvent) -> LinkStatus:
    return {
        "status": "UNKNOWN",
        "provider": event["provider"],
        "link_id": event["link_id"],
        "claimed_status": None,
        "reason": None,
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
        "refunds": [],
        "refunded_minor": 0,
        "disputed_minor": 0,
        "net_minor": None,
        "anomalies": [],
        "first_seen_at": event["received_at"],
        "changed_at": event["received_at"],
        "times": {},
        "claims": {},
        "looked_up_at": None,
        "registration": None,
        "provider_order_id": None,
        "closed_elsewhere": False,
        "judged": {},
        "claimed_at": None,
        "held": [],
        "version": 0,
    }


def _proves_only_the_provider(event: LinkEvent, rules: ProviderRules) -> bool:
    """Whether a signature that is the same for all customers is the only proof of the event."""
    is_ours = event["source"] in (*_LOOKED_UP, "registration")
    return rules.signs_for_all and event["verified"] and not is_ours


def _hold(held: list[LinkEvent], event: LinkEvent) -> list[LinkEvent]:
    """Return the held events with another one, each once: repeats take no place of others. Which
    are kept does not depend on their order.
    """
    ids = {e["event_id"] for e in held}
    if event["event_id"] not in ids and len(ids) == len(held):
        # No repeats: the texts, which are slow to make, decide nothing.
        return sorted([*held, event], key=lambda e: e["event_id"])[:_MOST_HELD]
    arrivals = sorted([*held, event], key=lambda e: (e["received_at"], str(e)), reverse=True)
    earliest = {_without_arrival(e): e for e in arrivals}
    return [e for _, e in sorted(earliest.items())][:_MOST_HELD]


def _without_arrival(event: LinkEvent) -> tuple[str, str]:
    return event["event_id"], str({**event, "received_at": 0, "origin": ""})


def _add(row: LinkStatus, event: LinkEvent) -> None:
    _add_status(row, event)
    _add_money(row, event)
    _add_payment(row, event)
    _add_other_facts(row, event)
    if event["refund"] is not None:
        refunds.add_refund(row, event)


def _add_status(row: LinkStatus, event: LinkEvent) -> None:
    """Add a verified status, or the claim that an unverified one is. UNKNOWN adds neither."""
    status = event["status"]
    if status == "UNKNOWN":
        return
    if not event["verified"]:
        _add_claimed_at(row, event)
    elif status == "PROCESSING" and event["reason"] is not None:
        # As everywhere in the row, the larger one wins: so their order does not matter.
        row["reason"] = max(row["reason"] or "", event["reason"])
    at = event["occurred_at"]
    if at is None:
        at = event["received_at"]
    known = row["times"] if event["verified"] else row["claims"]
    earliest = known.get(status)
    if earliest is not None and earliest <= at:
        return
    known = {**known, status: at}
    if not event["verified"]:
        row["claims"] = known
        return
    row["times"] = known
    if RANK[status] > RANK[row["status"]]:
        row["status"] = status


def _add_claimed_at(row: LinkStatus, event: LinkEvent) -> None:
    """Note when an ending was last claimed: a later lookup has to answer that claim."""
    if event["status"] in ENDED:
        row["claimed_at"] = max(event["received_at"], row["claimed_at"] or 0)


def _add_money(row: LinkStatus, event: LinkEvent) -> None:
    """Add verified amounts. The largest amount wins, so the order of events does not matter."""
    if not event["verified"]:
        return
    amount, received = event["amount_minor"], event["received_minor"]
    if amount is not None:
        known = (-1 if row["amount_minor"] is None else row["amount_minor"], row["currency"] or "")
        if (amount, event["currency"] or "") > known:
            row["amount_minor"], row["currency"] = amount, event["currency"]
    if received is not None:
        row["received_minor"] = max(received, row["received_minor"] or 0)
    coverage = event["coverage"]
    if coverage is not None and COVERAGE_RANK[coverage] > COVERAGE_RANK[row["coverage"]]:
        row["coverage"] = coverage
    if coverage in ("UNDERPAID", "OVERPAID"):
        _report(row, cast("AnomalyKind", coverage))


def _add_payment(row: LinkStatus, event: LinkEvent) -> None:
    payment_id = event["payment_id"]
    if payment_id is None or not event["verified"]:
        return
    if payment_id not in row["payment_ids"]:
        row["payment_ids"] = sorted([*row["payment_ids"], payment_id])
    status = event["payment_status"]
    if status is None:
        return
    known = next((p for p in row["payments"] if p["payment_id"] == payment_id), None)
    seen, failed_at = (known["seen"], known["failed_at"]) if known else ([], None)
    if status == "FAILED":
        at = event["received_at"] if event["occurred_at"] is None else event["occurred_at"]
        failed_at = at if failed_at is None else min(at, failed_at)
    if status in seen and known and failed_at == known["failed_at"]:
        return
    seen = seen if status in seen else sorted([*seen, status])
    payment: Payment = {"payment_id": payment_id, "seen": seen, "failed_at": failed_at}
    others = [p for p in row["payments"] if p["payment_id"] != payment_id]
    row["payments"] = sorted([*others, payment], key=lambda p: p["payment_id"])


def _add_other_facts(row: LinkStatus, event: LinkEvent) -> None:
    """Add the registration, the provider's order id, whether that order was closed elsewhere, the
    time of the last lookup, a denial.
    """
    registrations.add_registration(row, event["registration"])
    order_id = event["order_id"]
    if order_id is not None and event["verified"]:
        known = row["provider_order_id"]
        row["provider_order_id"] = order_id if known is None else min(known, order_id)
    if event["closed_elsewhere"] and event["verified"]:
        row["closed_elsewhere"] = True
    if event["source"] in _LOOKED_UP:
        row["looked_up_at"] = max(event["received_at"], row["looked_up_at"] or 0)
        _add_judgement(row, event)


def _add_judgement(row: LinkStatus, event: LinkEvent) -> None:
    """Add what the provider's API reports or denies. A report of a status wins over a denial."""
    judged = dict(row["judged"])
    if event["denies"] is not None:
        judged.setdefault(event["denies"], False)
    if event["verified"] and event["status"] in ENDED:
        judged[event["status"]] = True
    if judged != row["judged"]:
        row["judged"] = dict(sorted(judged.items()))


def _report(row: LinkStatus, kind: AnomalyKind) -> None:
    if kind not in row["anomalies"]:
        row["anomalies"] = sorted([*row["anomalies"], kind])


def _derive(row: LinkStatus, rules: ProviderRules, before: LinkStatus) -> None:
    row["verified"] = bool(row["times"])
    row["claimed_status"] = _unconfirmed_claim(row)
    if row["status"] != "PROCESSING":
        row["reason"] = None
    if row["status"] in ENDED:
        # Nothing is left to ask, whatever is claimed again.
        row["claimed_at"] = None
    if row["status"] == "PAID" and COVERAGE_RANK[row["coverage"]] < COVERAGE_RANK["PAID"]:
        row["coverage"] = "PAID"
    if row["payment_ids"]:
        row["payment_id"] = _paying_payment(row)
    if registrations.derive_order(row, rules, before):
        _report(row, "LATE_LINK")
    kinds = _derived_anomalies(row, rules)
    if "PAYMENT_REVERSED" in kinds:
        refunds.add_reversals(row)
    if row["refunds"] or row["status"] == "PAID":
        refunds.derive_money(row)
        if row["refunds"]:
            kinds += refunds.anomalies_of(row)
    if kinds or row["anomalies"]:
        reported = [kind for kind in row["anomalies"] if kind in _REPORTED]
        row["anomalies"] = sorted({*reported, *kinds})


def _unconfirmed_claim(row: LinkStatus) -> Status | None:
    """Return the highest claim, if it is above the verified status."""
    claims = claimed_statuses(row)
    if not claims:
        return None
    highest = max(claims, key=RANK.__getitem__)
    return highest if RANK[highest] > RANK[row["status"]] else None


def claimed_statuses(row: LinkStatus) -> set[Status]:
    """Return the statuses that unproven events state: claims and held events."""
    return {*row["claims"], *(event["status"] for event in row["held"])}


def _paying_payment(row: LinkStatus) -> str | None:
    paid = [p["payment_id"] for p in row["payments"] if not MONEY_SEEN.isdisjoint(p["seen"])]
    if paid:
        return paid[0]
    return row["payment_ids"][0] if len(row["payment_ids"]) == 1 else None


def _derived_anomalies(row: LinkStatus, rules: ProviderRules) -> list[AnomalyKind]:
    kinds: list[AnomalyKind] = []
    if len(row["times"]) > 1:
        endings = UNPAID_ENDINGS & row["times"].keys()
        if len(endings) > 1:
            kinds.append("CONFLICTING_END")
        if endings and "PAID" in row["times"]:
            kinds.append("PAID_AFTER_END")
    if False in row["judged"].values() or (rules.final_after_end and _claims_higher_ending(row)):
        kinds.append("CLAIM_DENIED")
    if row["payments"]:
        kinds += _payment_anomalies(row["payments"])
    if row["coverage"] == "UNKNOWN" or (row["status"] == "PAID" and _amounts_differ(row)):
        kinds.append("AMOUNT_MISMATCH")
    return kinds


def _claims_higher_ending(row: LinkStatus) -> bool:
    """Whether a claim is above a verified unpaid ending, which is final: no lookup can confirm it.

    Both sets only grow, so the order of arrival does not matter.
    """
    verified = [RANK[status] for status in UNPAID_ENDINGS & row["times"].keys()]
    return bool(verified) and any(RANK[c] > min(verified) for c in ENDED & row["claims"].keys())


def _payment_anomalies(payments: list[Payment]) -> list[AnomalyKind]:
    kinds: list[AnomalyKind] = []
    if sum(not MONEY_SEEN.isdisjoint(payment["seen"]) for payment in payments) > 1:
        kinds.append("SECOND_PAYMENT")
    if any("FAILED" in p["seen"] and not ACCEPTED_SEEN.isdisjoint(p["seen"]) for p in payments):
        kinds.append("PAYMENT_REVERSED")
    return kinds


def _amounts_differ(row: LinkStatus) -> bool:
    """Whether the payment has another amount than its registration, or took only a part."""
    received = row["received_minor"]
    if row["amount_minor"] is not None and received is not None and received < row["amount_minor"]:
        return True
    registration = row["registration"]
    if registration is None or registration["amount_minor"] is None or row["amount_minor"] is None:
        return False
    registered = (registration["amount_minor"], registration["currency"])
    return registered != (row["amount_minor"], row["currency"] or registration["currency"])


def has_ended(row: LinkStatus) -> bool:
    """Whether the provider has nothing more to report."""
    return row["status"] in ENDED or is_completed_unpaid(row)


def is_final(row: LinkStatus, rules: ProviderRules) -> bool:
    """Whether no further lookup is allowed, whatever is claimed (iPint)."""
    return is_completed_unpaid(row) or (rules.final_after_end and row["status"] in ENDED)


def is_completed_unpaid(row: LinkStatus) -> bool:
    """Whether the provider has completed the link with too little money, or an unknown amount."""
    return row["coverage"] in ("UNDERPAID", "UNKNOWN")


def is_issued(row: LinkStatus) -> bool:
    """Whether the provider or the merchant has vouched for the link. Anyone can invent others."""
    return bool(row["times"]) or row["registration"] is not None
