"""Refunds, payouts and disputes of the simulated TrueLayer: what comes after a payment."""

from collections.abc import Iterator, Mapping
from uuid import uuid4

from connectors.providers import simulator as sim
from connectors.providers.base import ApiResponse
from connectors.providers.simulator import Doc, State, json_response, rfc3339

# Step of a paid link -> the words of its events, and the part of the payment that goes back.
STEPS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "refunded": (("executed",), 1),
    "refunded_in_part": (("executed",), 2),
    "refund_failed": (("failed",), 1),
    "refund_returned": (("executed", "returned"), 1),
    "paid_out": (("executed",), 1),
    "disputed": ((), 0),
    "reversed": ((), 0),
}
EXAMPLE_REFUND = "56bbff79-0385-4c6f-9d8d-0a1b9f5c7e21"
_DISPUTE = {"disputed_reason": "advance_notice_disputed", "expires_at": "2100-01-01T00:00:00Z"}
_REASONS = {"disputed": _DISPUTE, "reversed": {"reversal_reason": "returned_by_bank"}}


class Refunds:
    """The refunds of all payments, by their ids; payouts are among them."""

    def __init__(self, state: State) -> None:
        self._state = state

    def take_step(self, payment: Doc, step: str, now: int) -> None:
        """Give money back, or let the payer dispute the payment. Events follow."""
        words, part = STEPS[step]
        if not part:
            self._state.enqueue(sim.json_callback(_payment_event(payment["id"], step, now)))
            return
        kind = "payout" if step == "paid_out" else "refund"
        refund = self.create(payment, kind, payment["amount_in_minor"] // part, now)
        for word in words:
            self.move(refund, word, now)
            self._state.enqueue(sim.json_callback(_event(refund, now)))

    def create(
        self, payment: Doc, kind: str, amount_minor: int, now: int, refund_id: str = ""
    ) -> Doc:
        refund = {
            "id": refund_id or str(uuid4()),
            "kind": kind,
            "payment_id": payment["id"],
            "amount_in_minor": amount_minor,
            "currency": payment["currency"],
            "reference": "a reference",
            "status": "pending",
            "created_at": rfc3339(now),
        }
        self._state.put("refund", refund["id"], refund)
        return refund

    def move(self, refund: Doc, word: str, now: int) -> None:
        """Set the status: `executed`, `failed`, or `returned` by the payer's bank."""
        reason = {"returned": "returned", "failed": "insufficient_funds"}.get(word)
        refund["status"] = "failed" if reason else word
        refund |= {f"{refund['status']}_at": rfc3339(now)}
        refund |= {"failure_reason": reason} if reason else {}
        self._state.put("refund", refund["id"], refund)

    def set_example(self, payment: Doc, status: str, now: int) -> None:
        """Give the refund in the example callbacks this status."""
        refund = self.create(payment, "refund", 4000, now, EXAMPLE_REFUND)
        self.move(refund, status, now)

    def request(self, payment: Doc, body: Doc, now: int) -> ApiResponse:
        """Answer POST refunds. The refund is executed at once, and never exceeds the payment."""
        given_back = sum(r["amount_in_minor"] for r in self._of(payment["id"]))
        left = payment["amount_in_minor"] - given_back
        amount = body.get("amount_in_minor", left)
        if not isinstance(amount, int) or not 0 < amount <= left:
            return json_response(400, {"title": "Invalid amount_in_minor"})
        refund = self.create(payment, "refund", amount, now)
        self.move(refund, "executed", now)
        self._state.enqueue(sim.json_callback(_event(refund, now)))
        return json_response(202, {"id": refund["id"]})

    def shown(self, payment_id: str) -> ApiResponse:
        """Answer GET refunds of a payment."""
        return json_response(200, {"items": list(map(_shown, self._of(payment_id)))})

    def payout(self, payout_id: str) -> Doc | None:
        """Return a payout as GET shows it."""
        refund = self._state.get("refund", payout_id)
        return _shown(refund) if refund and refund["kind"] == "payout" else None

    def _of(self, payment_id: str) -> Iterator[Doc]:
        for refund in self._state.all("refund"):
            if (refund["payment_id"], refund["kind"]) == (payment_id, "refund"):
                yield refund


def _shown(refund: Doc) -> Doc:
    return {name: value for name, value in refund.items() if name not in ("kind", "payment_id")}


def _event(refund: Doc, now: int) -> Doc:
    """Return the event about a refund. It has no amount, and a payout names no payment."""
    kind, status = refund["kind"], refund["status"]
    event: Doc = {"type": f"{kind}_{status}", "event_version": 1, "event_id": str(uuid4())}
    event |= {f"{kind}_id": refund["id"], f"{status}_at": rfc3339(now, "milliseconds")}
    if kind == "refund":
        event |= {"payment_id": refund["payment_id"]}
    else:
        beneficiary = {"type": "payment_source", "payment_source_id": "a-source", "user_id": "u"}
        metadata = {"payment_id": refund["payment_id"]}
        event |= {"beneficiary": beneficiary, "metadata": metadata}
    reason = {"failure_reason": refund["failure_reason"]} if status == "failed" else {}
    return event | {"scheme_id": "faster_payments_service"} | reason


def _payment_event(payment_id: str, word: str, now: int) -> Doc:
    event: Doc = {"type": f"payment_{word}", "event_version": 1, "event_id": str(uuid4())}
    at = {f"{word}_at": rfc3339(now, "milliseconds")}
    return event | {"payment_id": payment_id} | at | _REASONS[word]
