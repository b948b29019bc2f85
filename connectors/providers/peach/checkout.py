"""Peach's Checkout events: form-encoded, sent to the same URL as the events of links.

Vendor documents: "Checkout webhooks", "Response codes", "Payments reference materials" (payment
types), "Chargeback operations".
"""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from connectors.providers import facts, payload
from connectors.providers.base import Unreadable
from connectors.providers.peach import links
from connectors.providers.raw import Raw
from schemas import ids
from schemas.records import Notice, PaymentEvent, Status
from schemas.refund_records import RefundFact, RefundKind, RefundState

# Outcome by result code, in order, from "Response codes"; a code that matches nothing is rejected.
# The two 100.396 codes come from the documents of the underlying card platform.
OUTCOMES = (
    (re.compile(r"000\.000\.|000\.100\.1|000\.[36]|000\.400\.1[12]0"), "successful"),
    (re.compile(r"000\.400\.0"), "successful"),
    (re.compile(r"000\.200"), "pending"),
    (re.compile(r"100\.396\.101"), "cancelled"),
    (re.compile(r"100\.396\.104"), "uncertain"),
)
# `paymentType` -> how money goes back. Other types bring money.
REFUNDS: Mapping[str, RefundKind] = {
    "RF": "REFUND",
    "RV": "REVERSAL",
    "CB": "CHARGEBACK",
    "CR": "CHARGEBACK_REVERSAL",
}
_STATES: Mapping[str, RefundState] = {
    "successful": "EXECUTED",
    "pending": "PENDING",
    "uncertain": "PENDING",
    "cancelled": "FAILED",
    "rejected": "FAILED",
}
MANUAL_REVIEW = "000.400.0"

_CODE = re.compile(r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}")
_KEPT = (
    "id",
    "checkoutId",
    "amount",
    "currency",
    "merchantTransactionId",
    "merchantInvoiceId",
    "paymentBrand",
    "paymentType",
    "referencedId",
    "result.code",
    "result.description",
    "timestamp",
)


def is_form(body: bytes, content_type: str) -> bool:
    """Return whether this is a Checkout event: by content type, unless the body is clearly JSON."""
    if body.lstrip()[:1] in (b"{", b"["):
        return False
    return "form-urlencoded" in content_type.lower() or b"result.code=" in body


def form_fields(body: bytes) -> dict[str, str]:
    """Return the form's fields. Raises Unreadable."""
    try:
        text = body.decode(errors="replace")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=500))
    except ValueError:
        raise Unreadable("the form has too many fields") from None


def outcome(code: str) -> str:
    """Return the outcome of the payment. Raises Unreadable if `code` is not a result code."""
    if not _CODE.fullmatch(code):
        raise Unreadable("result.code: not of the form ddd.ddd.ddd")
    return next((word for pattern, word in OUTCOMES if pattern.match(code)), "rejected")


def checkout_notice(raw: Raw) -> Notice:
    """Return the notice of a Checkout event, known or not. Raises Unreadable."""
    form: dict[str, str] = payload.clean(form_fields(raw.body))
    code, subject_id = form.get("result.code", ""), form.get("checkoutId") or form.get("id")
    if raw.verified and not (_CODE.fullmatch(code) and ids.is_identifier(subject_id)):
        return facts.unknown_event(raw, f"checkout {code}".strip(), subject_id, _attributes(form))
    if "result.code" not in form:
        raise Unreadable("result.code: missing")
    if not ids.is_identifier(subject_id):
        raise Unreadable("checkoutId: missing or not an identifier")
    kind = "refund" if form.get("paymentType", "") in REFUNDS else "checkout"
    return facts.notice(raw, kind, subject_id, outcome(form["result.code"]), _attributes(form))


def _attributes(form: dict[str, str]) -> dict[str, str]:
    attributes = {name: form[name] for name in _KEPT if name in form}
    if "registrationId" in form:
        attributes["registrationId"] = payload.masked(form["registrationId"])
    code = form.get("result.code", "")
    if code == links.TEST_MODE:
        attributes["mode"] = "test"
    if code.startswith(MANUAL_REVIEW):
        attributes["review"] = "manual"
    return attributes


def timeline_events(raw: Raw, notice: Notice, is_live: bool) -> tuple[PaymentEvent, ...]:
    """Return the event for the timeline of the Checkout's link, to be joined by the Checkout's id.

    Only a capture says that the link is paid; all others have the status UNKNOWN, and change none.
    It may state a refund. An unverified event is not joined, because anyone can send it.
    """
    attributes = notice["attributes"]
    checkout_id = attributes.get("checkoutId")
    is_known = notice["kind"] != facts.UNKNOWN_EVENT
    if not (raw.verified and is_known and ids.is_identifier(checkout_id)):
        return ()
    name = f"{notice['kind']}/{notice['status']}"
    refund, succeeded = _refund(attributes, notice["status"]), notice["status"] == "successful"
    capture = _capture(attributes, is_live) if succeeded else {}
    is_fact = bool(refund or capture)
    details: facts.Details = {
        "occurred_at": _time(attributes) if is_fact else None,
        "reason": None if is_fact and succeeded else attributes.get("result.description"),
        "refund": refund,
        "attributes": attributes | links.brand(attributes.get("paymentBrand")),
        **capture,
    }
    status: Status = "PAID" if capture else "UNKNOWN"
    identity = (name, checkout_id, attributes.get("id"), attributes["result.code"])
    event = facts.link_event(raw, "", status, name, identity, **details)
    return (facts.event_of_payment(event, checkout_id),)


class _Times(payload.Payload):
    timestamp: payload.Timestamp | None = None


def _time(attributes: dict[str, str]) -> int | None:
    return payload.micros(payload.validate(_Times, attributes).timestamp)


def _capture(attributes: dict[str, str], is_live: bool) -> facts.Details:
    """Return the payment in a successful capture of authorised money; nothing for another event.

    A capture can take a part of what was authorised.
    """
    payment_id, currency = attributes.get("id"), attributes.get("currency")
    if attributes.get("paymentType") != links.CAPTURE or not ids.is_identifier(payment_id):
        return {}
    if is_live and attributes["result.code"] == links.TEST_MODE:
        return {}
    amount, _ = payload.amount("amount", attributes.get("amount"), currency)
    return {
        "payment_id": payment_id,
        "payment_status": "PAID",
        "amount_minor": amount,
        "received_minor": amount,
        "currency": None if amount is None else currency,
    }


def _refund(attributes: dict[str, str], outcome: str) -> RefundFact | None:
    """Return what the event states about money that goes back, or None."""
    refund_id, referenced = attributes.get("id"), attributes.get("referencedId")
    kind = REFUNDS.get(attributes.get("paymentType", ""))
    if kind == "CHARGEBACK_REVERSAL":
        # It names the chargeback, not the payment.
        referenced = None
    if kind is None or not ids.is_identifier(refund_id):
        return None
    currency = attributes.get("currency")
    amount, _ = payload.amount("amount", attributes.get("amount"), currency)
    return {
        "refund_id": refund_id,
        "kind": kind,
        "state": _STATES[outcome],
        "payment_id": referenced if ids.is_identifier(referenced) else None,
        "amount_minor": amount,
        "currency": None if amount is None else currency,
    }


def link_of_checkout(raw: Raw, checkout_id: str | None, link_id: str) -> tuple[PaymentEvent, ...]:
    """Return the fact that a Checkout belongs to a link, for the join."""
    if not ids.is_identifier(checkout_id):
        return ()
    return (facts.link_of_payment(raw, checkout_id, link_id),)
