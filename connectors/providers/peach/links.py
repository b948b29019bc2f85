"""Payment links of Peach, as its webhooks and its query report them."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from connectors.providers import facts, lookup_answer, payload
from connectors.providers.base import Unreadable
from connectors.providers.raw import Raw
from schemas import ids
from schemas.records import LinkEvent, Status

# As webhooks of links spell them. Other documents spell two of them differently; an unknown brand
# is stored as received.
BRANDS = (
    *("VISA", "MASTERCARD", "DINERS CLUB", "AMERICAN EXPRESS", "MASTERPASS", "MOBICRED", "MPESA"),
    *("1FORYOU", "APLUS", "PAYPAL", "ZEROPAY", "PAYFLEX", "BLINKBYEMTEL", "CAPITECPAY"),
    *("MCBJUICE", "PEACHEFT"),
)
# The types of a payment that only authorises money, and of one that takes authorised money.
PREAUTHORISATION, CAPTURE = "PA", "CP"
# The result code of a success in test mode.
TEST_MODE = "000.100.110"
# Why a link is not paid although Peach calls it completed.
AUTHORISED = "authorised only, not captured yet"
NOTHING_CHARGED = "completed with amount 0: nothing was charged"
ONLY_A_TEST = f"completed in test mode ({TEST_MODE}): nothing was charged"
_OTHER_SPELLINGS = {"MASTER": "MASTERCARD", "DINERS": "DINERS CLUB"}


def brand(text: str | None) -> dict[str, str]:
    """Return the attribute `brand` in one spelling, or nothing for an unknown brand."""
    word = _OTHER_SPELLINGS.get(text or "", text)
    return {"brand": word} if word in BRANDS else {}


class Callback(payload.Payload):
    paymentId: payload.Identifier
    status: payload.Identifier
    url: str | None = None
    paymentBrand: str | None = None
    registrationId: payload.SecretText = None


class Terms(payload.Payload):
    status: payload.Identifier
    # A number of major units. A value of another type must not hide the status.
    amount: Any = None
    currency: payload.CurrencyCode | None = None
    merchantInvoiceId: str | None = None


class Attempt(payload.Payload):
    checkoutId: str | None = None
    transactionUniqueId: payload.Identifier | None = None
    paymentType: str | None = None
    resultCode: str | None = None
    paymentBrand: str | None = None
    registrationId: payload.SecretText = None


class Payment(payload.Payload):
    id: payload.Identifier
    payment: Terms
    checkout: Attempt = Attempt()


class Change(payload.Payload):
    newStatus: str | None = None
    timestamp: payload.Timestamp | None = None


class QueryAnswer(payload.Payload):
    payment: Payment
    audit: Annotated[tuple[Change, ...], Field(max_length=1000)] = ()


def callback_events(
    raw: Raw, document: payload.Document, statuses: payload.Statuses, can_look_up: bool
) -> tuple[LinkEvent, ...]:
    """Return the events in a webhook of a link. Raises Unreadable.

    `completed` does not tell money that was taken from money that is only authorised. So even a
    signed one only claims that the link is paid, if the query can tell.
    """
    callback = payload.validate(Callback, document)
    attributes = callback.unread() | _attributes(callback, "url", "paymentBrand")

    def event(raw: Raw, status: Status) -> LinkEvent:
        return facts.link_event(
            raw, callback.paymentId, status, callback.status, attributes=attributes
        )

    status = payload.map_status(statuses, callback.paymentId, callback.status)
    if status == "PAID" and raw.verified and can_look_up:
        # The first event vouches for the link: the lookup of the claim takes the fast lane.
        return event(raw, "PROCESSING"), event(replace(raw, verified=False), "PAID")
    return (event(raw, status),)


def answer_event(raw: Raw, statuses: payload.Statuses, is_live: bool) -> LinkEvent:
    """Return the event in an answer of the query. Raises Unreadable.

    `is_live`: the answer is of the live API, where a success in test mode is no payment.
    """
    answer = payload.parse(QueryAnswer, raw.body)
    link_id = lookup_answer.checked_link_id(raw, answer.payment.id)
    terms, attempt = answer.payment.payment, answer.payment.checkout
    status = payload.map_status(statuses, link_id, terms.status)
    # Money that is only authorised denies no claim: the webhook calls it completed, too.
    denies = lookup_answer.denied_status(raw, status)
    not_paid = _why_not_paid(answer, statuses, is_live)
    status = "PROCESSING" if not_paid else status
    changes = [c.timestamp for c in answer.audit if c.newStatus == terms.status]
    amount_minor, amount_text = payload.amount("amount", terms.amount, terms.currency)
    # The transaction of an attempt becomes the link's payment only if it paid the link.
    payment_id = attempt.transactionUniqueId if status == "PAID" else None
    # After a capture, time and transaction may still be those of the authorisation. That is no
    # second payment.
    is_captured = attempt.paymentType == CAPTURE
    return facts.link_event(
        raw,
        link_id,
        status,
        terms.status,
        occurred_at=payload.micros(changes[-1]) if changes and not is_captured else None,
        payment_id=payment_id,
        payment_status="PAID" if payment_id and not is_captured else None,
        order_id=terms.merchantInvoiceId if ids.is_identifier(terms.merchantInvoiceId) else None,
        amount_minor=amount_minor,
        currency=terms.currency,
        denies=denies,
        reason=not_paid,
        attributes=answer.unread()
        | amount_text
        | _attributes(attempt, "checkoutId", "paymentType", "resultCode", "paymentBrand"),
    )


def is_unpaid(document: Any, statuses: payload.Statuses, is_live: bool) -> bool:
    """Return whether the query answers that a link is completed, and that nothing was charged."""
    try:
        answer = payload.validate(QueryAnswer, document)
    except Unreadable:
        return False
    return _why_not_paid(answer, statuses, is_live) is not None


def _why_not_paid(answer: QueryAnswer, statuses: payload.Statuses, is_live: bool) -> str | None:
    """Return why a completed link is not paid; None if it is, or if it is not completed."""
    terms, attempt = answer.payment.payment, answer.payment.checkout
    if statuses.get(terms.status) != "PAID":
        return None
    if attempt.paymentType == PREAUTHORISATION:
        return AUTHORISED
    if payload.amount("amount", terms.amount, terms.currency)[0] == 0:
        return NOTHING_CHARGED
    return ONLY_A_TEST if is_live and attempt.resultCode == TEST_MODE else None


def _attributes(source: Callback | Attempt, *names: str) -> dict[str, str]:
    kept = payload.attributes(source.model_dump(include=set(names))) | brand(source.paymentBrand)
    if source.registrationId:
        kept["registrationId"] = payload.masked(source.registrationId)
    return kept
