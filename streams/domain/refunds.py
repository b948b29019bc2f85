"""Money that goes back to the payer after the payment: refunds, reversals, disputes.

All facts about one refund make one entry of its link's row. Its times only grow earlier, its amount
only larger, and its state is the highest reported: PENDING < EXECUTED < FAILED < RETURNED. A refund
that was executed and failed was returned, whichever report came first: a failed refund is never
executed later, because another attempt is another refund (TrueLayer, "Payout and refund returns").
So folding stays commutative, associative and idempotent.
"""

from collections.abc import Collection, Mapping

from schemas.limits import REFUNDS
from schemas.records import AnomalyKind, LinkEvent, LinkStatus
from schemas.refund_records import (
    TAKEN,
    LinkRefund,
    RefundFact,
    RefundKind,
    RefundState,
    amount_of,
)
from streams.domain.rules import ACCEPTED_SEEN, MONEY_SEEN, ProviderRules

RANK: Mapping[RefundState, int] = {
    "UNKNOWN": 0,
    "PENDING": 1,
    "EXECUTED": 2,
    "FAILED": 3,
    "RETURNED": 4,
}
_DISPUTES: frozenset[RefundKind] = frozenset({"DISPUTE", "CHARGEBACK"})
_NO_ANSWER: frozenset[RefundState] = frozenset({"UNKNOWN"})

# Two kinds may have the same id: a provider names a dispute and a reversal by their payment.
Key = tuple[str, RefundKind]


def key_of(refund: LinkRefund | RefundFact) -> Key:
    """Return what identifies the refund within its link."""
    return refund["refund_id"], refund["kind"]


def add_refund(row: LinkStatus, event: LinkEvent) -> None:
    """Add what a verified event states about a refund. Raises ValueError if the row is full."""
    fact = event["refund"]
    if fact is None or not event["verified"]:
        return
    at = event["occurred_at"]
    _add(row, fact, event["received_at"] if at is None else at, event["reason"])


def add_reversals(row: LinkStatus) -> None:
    """Add the reversal of each payment that failed after its money had counted."""
    for payment in row["payments"]:
        if payment["failed_at"] is not None and not MONEY_SEEN.isdisjoint(payment["seen"]):
            fact: RefundFact = {
                "refund_id": payment["payment_id"],
                "kind": "REVERSAL",
                "state": "EXECUTED",
                "payment_id": payment["payment_id"],
                "amount_minor": None,
                "currency": None,
            }
            _add(row, fact, payment["failed_at"], None)


def _add(row: LinkStatus, fact: RefundFact, at: int, reason: str | None) -> None:
    key = key_of(fact)
    known = next((refund for refund in row["refunds"] if key_of(refund) == key), None)
    entry = _with_fact(known or _entry(fact), fact, at, reason)
    if entry == known:
        return
    others = [refund for refund in row["refunds"] if refund is not known]
    if len(others) >= REFUNDS:
        raise ValueError(f"the link already has {REFUNDS} refunds")
    row["refunds"] = sorted([*others, entry], key=key_of)


def _entry(fact: RefundFact) -> LinkRefund:
    return {
        "refund_id": fact["refund_id"],
        "kind": fact["kind"],
        "state": "UNKNOWN",
        "payment_id": None,
        "amount_minor": None,
        "currency": None,
        "reason": None,
        "times": {},
    }


def _with_fact(entry: LinkRefund, fact: RefundFact, at: int, reason: str | None) -> LinkRefund:
    state = fact["state"]
    times = {**entry["times"], state: min(at, entry["times"].get(state, at))}
    after: LinkRefund = {
        **entry,
        "state": _state(times),
        "payment_id": _larger(entry["payment_id"], fact["payment_id"]),
        "reason": _larger(entry["reason"], reason),
        "times": dict(sorted(times.items())),
    }
    if _money(fact) > _money(entry):
        after["amount_minor"], after["currency"] = fact["amount_minor"], fact["currency"]
    return after


def _state(times: Collection[RefundState]) -> RefundState:
    if "EXECUTED" in times and "FAILED" in times:
        return "RETURNED"
    return max(times, key=RANK.__getitem__)


def _larger(known: str | None, stated: str | None) -> str | None:
    return known if stated is None or (known is not None and known >= stated) else stated


def _money(source: LinkRefund | RefundFact) -> tuple[int, str]:
    amount = source["amount_minor"]
    return (-1, "") if amount is None else (amount, source["currency"] or "")


def derive_money(row: LinkStatus) -> None:
    """Set what was refunded, what is disputed, and what remains of the payment."""
    refunds, paid = row["refunds"], _paid(row)
    if not refunds:
        row["refunded_minor"], row["disputed_minor"], row["net_minor"] = 0, 0, paid
        return
    row["refunded_minor"] = refunded = _refunded(row)
    row["net_minor"] = net = None if paid is None or refunded is None else paid - refunded
    disputed = _sum(row, _open_disputes(refunds))
    # What the merchant has given back cannot be taken once more.
    row["disputed_minor"] = (
        disputed if disputed is None or net is None else min(disputed, max(net, 0))
    )


def _refunded(row: LinkStatus) -> int | None:
    """Return what went back to the payer, less what came back of chargebacks, whole or in part."""
    executed = [refund for refund in row["refunds"] if refund["state"] == "EXECUTED"]
    charged_back = _sum(row, [r for r in executed if r["kind"] == "CHARGEBACK"])
    came_back = _sum(row, [r for r in executed if r["kind"] == "CHARGEBACK_REVERSAL"])
    others = _sum(row, [r for r in executed if not r["kind"].startswith("CHARGEBACK")])
    if charged_back is None or came_back is None or others is None:
        return None
    # A reversal may come before its chargeback.
    return others + max(0, charged_back - came_back)


def _paid(row: LinkStatus) -> int | None:
    """Return what was received; where the provider does not tell it, each payment is whole."""
    if row["status"] != "PAID":
        return None
    received, amount, payments = row["received_minor"], row["amount_minor"], row["payments"]
    if received is not None or amount is None:
        return received
    if len(payments) < 2:
        return amount
    return amount * max(1, sum(not MONEY_SEEN.isdisjoint(one["seen"]) for one in payments))


def _open_disputes(refunds: list[LinkRefund]) -> list[LinkRefund]:
    """Return the disputes that are not decided. A reversal of the payment decides its dispute."""
    reversed_ = {r["payment_id"] for r in refunds if _is(r, {"REVERSAL"}, "EXECUTED")}
    return [
        refund
        for refund in refunds
        if _is(refund, _DISPUTES, "PENDING") and refund["payment_id"] not in reversed_ - {None}
    ]


def _is(refund: LinkRefund, kinds: Collection[RefundKind], state: RefundState) -> bool:
    return refund["kind"] in kinds and refund["state"] == state


def _sum(row: LinkStatus, refunds: list[LinkRefund]) -> int | None:
    total = 0
    for refund in refunds:
        amount = amount_of(refund, row["amount_minor"])
        if amount is None or refund["currency"] not in (None, row["currency"]):
            return None
        total += amount
    return total


def has_failed(refund: LinkRefund) -> bool:
    """Whether money that we gave back did not reach the payer."""
    return refund["kind"] not in TAKEN and refund["state"] in ("FAILED", "RETURNED")


def is_dispute(refund: LinkRefund | None) -> bool:
    """Whether the payer contests the payment, or contested it once."""
    return (
        refund is not None
        and refund["kind"] in _DISPUTES
        and not {"PENDING", "EXECUTED"}.isdisjoint(refund["times"])
    )


def anomalies_of(row: LinkStatus) -> list[AnomalyKind]:
    """Return the kinds of anomalies of the row's refunds."""
    kinds: list[AnomalyKind] = []
    if any(map(has_failed, row["refunds"])):
        kinds.append("REFUND_FAILED")
    if any(map(is_dispute, row["refunds"])):
        kinds.append("DISPUTED")
    if row["net_minor"] is not None and row["net_minor"] < 0:
        kinds.append("REFUND_EXCEEDS_PAYMENT")
    if any(_is(r, {"REVERSAL"}, "EXECUTED") for r in row["refunds"]) and _has_counted(row):
        kinds.append("PAYMENT_REVERSED")
    return kinds


def _has_counted(row: LinkStatus) -> bool:
    """Whether a payment was accepted. Before, a reversal only voids an authorisation."""
    accepted = (not ACCEPTED_SEEN.isdisjoint(payment["seen"]) for payment in row["payments"])
    return row["status"] == "PAID" or any(accepted)


def awaits_amount(refund: LinkRefund, rules: ProviderRules) -> bool:
    """Whether the provider's API is asked for the amount, and has not answered yet."""
    if refund["amount_minor"] is not None or refund["kind"] in TAKEN:
        return False
    if not (rules.answers_refunds and rules.can_look_up) or not _NO_ANSWER.isdisjoint(
        refund["times"]
    ):
        return False
    return refund["kind"] == "PAYOUT" or refund["payment_id"] is not None
