"""Payment links of Peach, as its webhooks and its query tell them."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from connectors import reading
from connectors.provider import Raw
from schemas.money import BadAmount, minor_units
from schemas.records import LinkEvent, Status

# As webhooks of links spell them; two are spelt otherwise elsewhere. Others are kept as they come.
BRANDS = frozenset(
    {"VISA", "MASTERCARD", "DINERS CLUB", "AMERICAN EXPRESS", "MASTERPASS", "MOBICRED", "MPESA"}
    | {"1FORYOU", "APLUS", "PAYPAL", "ZEROPAY", "PAYFLEX", "BLINKBYEMTEL", "CAPITECPAY"}
    | {"MCBJUICE", "PEACHEFT"}
)
_ELSEWHERE = {"MASTER": "MASTERCARD", "DINERS": "DINERS CLUB"}


def brand(text: str | None) -> dict[str, str]:
    """The attribute `brand`: the one word for a brand that is known, nothing for another."""
    word = _ELSEWHERE.get(text or "", text)
    return {"brand": word} if word in BRANDS else {}


class Callback(reading.Payload):
    paymentId: reading.Identifier
    status: reading.Identifier
    url: str | None = None
    paymentBrand: str | None = None
    registrationId: str | None = None


def _or_nothing(value: object) -> object:
    return {} if value is None else value


class Terms(reading.Payload):
    status: reading.Identifier
    # A number of major units; another thing in its place must not hide the status.
    amount: Any = None
    currency: reading.CurrencyCode | None = None
    merchantInvoiceId: str | None = None


class Attempt(reading.Payload):
    checkoutId: str | None = None
    transactionUniqueId: reading.Identifier | None = None
    resultCode: str | None = None
    paymentBrand: str | None = None
    registrationId: str | None = None


class Payment(reading.Payload):
    id: reading.Identifier
    payment: Terms
    checkout: Annotated[Attempt, BeforeValidator(_or_nothing)] = Attempt()


class Change(reading.Payload):
    newStatus: str | None = None
    timestamp: reading.Moment | None = None


class Answered(reading.Payload):
    payment: Payment
    audit: Annotated[
        tuple[Change, ...], Field(max_length=1000), BeforeValidator(lambda value: value or ())
    ] = ()


def event(raw: Raw, payload: Mapping[str, Any], words: Mapping[str, Status]) -> LinkEvent:
    callback = reading.checked(Callback, payload)
    return raw.event(
        callback.paymentId,
        reading.status(words, callback.paymentId, callback.status),
        callback.status,
        attributes=_attributes(callback, "url", "paymentBrand"),
    )


def answer(raw: Raw, words: Mapping[str, Status]) -> LinkEvent:
    answered = reading.load(Answered, raw.body)
    link_id = reading.same_link(raw, answered.payment.id)
    terms, attempt = answered.payment.payment, answered.payment.checkout
    status = reading.status(words, link_id, terms.status)
    changes = [c.timestamp for c in answered.audit if c.newStatus == terms.status]
    amount, attributes = _amount(terms)
    return raw.event(
        link_id,
        status,
        terms.status,
        occurred_at=reading.micros(changes[-1]) if changes else None,
        # An attempt's transaction becomes the link's payment only when it paid it.
        payment_id=attempt.transactionUniqueId if status == "PAID" else None,
        payment_status="PAID" if status == "PAID" and attempt.transactionUniqueId else None,
        order_id=terms.merchantInvoiceId
        if reading.is_identifier(terms.merchantInvoiceId)
        else None,
        amount_minor=amount,
        currency=terms.currency,
        denies=raw.denial(status),
        attributes=attributes | _attributes(attempt, "checkoutId", "resultCode", "paymentBrand"),
    )


def _amount(terms: Terms) -> tuple[int | None, dict[str, str]]:
    """Minor units; an amount that is none of its currency is kept as text instead."""
    if terms.amount is None:
        return None, {}
    told = reading.texts({"amount": terms.amount})
    try:
        return minor_units(told["amount"], terms.currency or ""), {}
    except BadAmount:
        return None, told


def _attributes(payload: Callback | Attempt, *names: str) -> dict[str, str]:
    kept = reading.texts(payload.model_dump(include=set(names))) | brand(payload.paymentBrand)
    if payload.registrationId:
        kept["registrationId"] = reading.masked(payload.registrationId)
    return kept
