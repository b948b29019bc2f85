"""Payment links of Peach, as its webhooks and its query report them."""

from typing import Annotated, Any

from pydantic import Field

from connectors.providers import facts, lookup_answer, payload
from connectors.providers.raw import Raw
from schemas import ids
from schemas.records import LinkEvent

# As webhooks of links spell them. Other documents spell two of them differently; an unknown brand
# is stored as received.
BRANDS = (
    *("VISA", "MASTERCARD", "DINERS CLUB", "AMERICAN EXPRESS", "MASTERPASS", "MOBICRED", "MPESA"),
    *("1FORYOU", "APLUS", "PAYPAL", "ZEROPAY", "PAYFLEX", "BLINKBYEMTEL", "CAPITECPAY"),
    *("MCBJUICE", "PEACHEFT"),
)
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


def callback_event(raw: Raw, document: payload.Document, statuses: payload.Statuses) -> LinkEvent:
    """Return the event in a webhook of a link. Raises Unreadable."""
    callback = payload.validate(Callback, document)
    return facts.link_event(
        raw,
        callback.paymentId,
        payload.map_status(statuses, callback.paymentId, callback.status),
        callback.status,
        attributes=callback.unread() | _attributes(callback, "url", "paymentBrand"),
    )


def answer_event(raw: Raw, statuses: payload.Statuses) -> LinkEvent:
    """Return the event in an answer of the query. Raises Unreadable."""
    answer = payload.parse(QueryAnswer, raw.body)
    link_id = lookup_answer.checked_link_id(raw, answer.payment.id)
    terms, attempt = answer.payment.payment, answer.payment.checkout
    status = payload.map_status(statuses, link_id, terms.status)
    changes = [c.timestamp for c in answer.audit if c.newStatus == terms.status]
    amount_minor, amount_text = payload.amount("amount", terms.amount, terms.currency)
    # The transaction of an attempt becomes the link's payment only if it paid the link.
    payment_id = attempt.transactionUniqueId if status == "PAID" else None
    return facts.link_event(
        raw,
        link_id,
        status,
        terms.status,
        occurred_at=payload.micros(changes[-1]) if changes else None,
        payment_id=payment_id,
        payment_status="PAID" if payment_id else None,
        order_id=terms.merchantInvoiceId if ids.is_identifier(terms.merchantInvoiceId) else None,
        amount_minor=amount_minor,
        currency=terms.currency,
        denies=lookup_answer.denied_status(raw, status),
        attributes=answer.unread()
        | amount_text
        | _attributes(attempt, "checkoutId", "resultCode", "paymentBrand"),
    )


def _attributes(source: Callback | Attempt, *names: str) -> dict[str, str]:
    kept = payload.attributes(source.model_dump(include=set(names))) | brand(source.paymentBrand)
    if source.registrationId:
        kept["registrationId"] = payload.masked(source.registrationId)
    return kept
