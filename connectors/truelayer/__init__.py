"""TrueLayer: payment links of the Payments API v3 (open banking).

Vendor documents: "Payment link webhook specifications", "Monitor payment links", "Payment
    webhooks", "Payment statuses", "Settlement risk and the payment_creditable webhook"; the package
    truelayer-signing.

Signature: always; `Tl-Signature`, a detached JWS (ES512) over method, path, headers and body. `jku`
    must be the one of our environment, to the letter, before any key is fetched. The stamp of
    `X-TL-Webhook-Timestamp` must be signed, but its age is not bounded: retries last 72 hours and
    may or may not be stamped anew; a repeat is harmless, since `event_id` makes it the same event.
Retries: until answered 2xx, growing intervals, up to 72 hours.
Delivery guarantee: at least once, in no documented order.
Quirks: payment events name only their payment: they are joined to the link by it, in either order;
    a failed payment is an attempt and leaves its link open; executed ends a payment only on an
    external account; one URI receives refunds, payouts and mandates too; ids are opaque and not
    always UUIDs; the body of GET payment link is undocumented but for `status`; the signing library
    raises many kinds of errors.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal
from urllib.parse import urlencode

from pydantic import SecretStr

from connectors import calling, reading
from connectors.provider import (
    Answer,
    ApiRequest,
    Facts,
    Inbound,
    Lookup,
    ProviderConfig,
    Raw,
    SettlementMode,
)
from connectors.truelayer import others, payments, signature
from connectors.truelayer.payments import Payment, Payments
from schemas.records import LinkEvent, LookupRequest, Status

STATUS: dict[str, Status] = {
    # Webhooks of the link; the reason a link was disabled is part of the word.
    "payment_link_payment_created": "PROCESSING",
    "disabled/fulfilled": "PAID",
    "disabled/expired": "EXPIRED",
    # GET payment link. `disabled` without a reason does not say how the link ended.
    "enabled": "CREATED",
    "disabling": "PROCESSING",
    "disabled": "PROCESSING",
    # Webhooks of the payment, joined to the link. On an external account executed is PAID.
    "payment_authorized": "PROCESSING",
    "payment_executed": "PROCESSING",
    "payment_settlement_stalled": "PROCESSING",
    "payment_settled": "PAID",
    "payment_creditable": "PAID",
    "payment_failed": "UNKNOWN",
    # GET payments of the link: the same words without `payment_`, and three that no webhook has.
    "payment_authorization_required": "PROCESSING",
    "payment_authorizing": "PROCESSING",
    "payment_attempt_failed": "PROCESSING",
}


class TrueLayerConfig(ProviderConfig):
    # One environment only: accepting the sandbox's keys too would let its events into production.
    jku: str = "https://webhooks.truelayer.com/.well-known/jwks"
    api_url: calling.Url = "https://api.truelayer.com"
    auth_url: calling.Url = "https://auth.truelayer.com"
    client_id: str | None = None
    client_secret: SecretStr | None = None
    # Where the money goes: into TrueLayer's merchant account (settled there) or out to a bank.
    account: Literal["merchant", "external"] = "merchant"


class Event(reading.Payload):
    type: reading.Identifier
    event_id: reading.Identifier
    event_version: Any = None  # a number as sent, a text in TrueLayer's own tables


class PaymentCreated(Event):
    payment_link_id: reading.Identifier
    payment: Payment


class Disabled(Event):
    payment_link_id: reading.Identifier
    disabled_reason: Any = None  # "Any" in TrueLayer's own table
    disabled_at: reading.Moment | None = None


class Link(reading.Payload):
    id: reading.Identifier | None = None
    status: reading.Identifier
    disabled_reason: reading.Identifier | None = None
    disabled_at: reading.Moment | None = None


class Answered(reading.Payload):
    payment_link: Link
    payments: Payments = ()


class TrueLayer:
    """Payment links of TrueLayer."""

    name: ClassVar[str] = "truelayer"
    Config: ClassVar[type[ProviderConfig]] = TrueLayerConfig
    settlement: ClassVar[SettlementMode] = "by_payment"
    polls: ClassVar[bool] = True
    ends_for_good: ClassVar[bool] = False
    calls_at_once: ClassVar[int] = 8
    kept_headers: ClassVar[frozenset[str]] = frozenset({"tl-signature", "x-tl-webhook-timestamp"})
    STATUS: ClassVar[Mapping[str, Status]] = STATUS

    def __init__(self, config: TrueLayerConfig) -> None:
        self.config = config
        self._token = calling.Token()
        # On an external account nothing comes after executed.
        ends: dict[str, Status] = {"payment_executed": "PAID"}
        self._status = STATUS | (ends if config.account == "external" else {})

    def key(self, body: bytes, content_type: str) -> str | None:
        return reading.first_identifier(body, "payment_link_id", "payment_id")

    def authenticate(self, inbound: Inbound, jwks: bytes | None, now: int) -> bool:
        signature.verify(inbound, self.config.jku, jwks)
        return True

    def read(self, raw: Raw) -> Facts:
        if raw.link_id is not None:
            return reading.refusal(raw) or self._answer(raw)
        payload = reading.json_object(raw.body)
        event = reading.checked(Event, payload)
        if event.type == "payment_link_payment_created":
            return _created(raw, reading.checked(PaymentCreated, payload))
        if event.type == "payment_link_disabled":
            return _disabled(raw, reading.checked(Disabled, payload))
        if event.type in payments.PAYMENT_STATUS:
            return self._payment(raw, event, reading.checked(Payment, payload))
        return Facts(notices=(others.notice(raw, event.type, payload),))

    def can_look_up(self) -> bool:
        return bool(self.config.client_id and self.config.client_secret)

    def lookup(self, request: LookupRequest, now: int) -> Lookup:
        path = f"/v3/payment-links/{calling.path_part(request['link_id'])}"
        link = yield from self._token.call(self._token_request(), self._get(path), now)
        if not calling.succeeded(link, "GET payment link"):
            return Answer(link.status, link.body)
        bodies = {"payment_link": link.body}
        get_payments = self._get(f"{path}/payments")
        paid = yield from self._token.call(self._token_request(), get_payments, now)
        if calling.succeeded(paid, "GET payments of the link"):
            bodies["payments"] = paid.body
        return Answer(link.status, calling.together(bodies))

    def _get(self, path: str) -> ApiRequest:
        return ApiRequest("GET", self.config.api_url + path, {"accept": "application/json"})

    def _token_request(self) -> ApiRequest:
        secret = self.config.client_secret
        form = {
            "grant_type": "client_credentials",
            "client_id": self.config.client_id or "",
            "client_secret": secret.get_secret_value() if secret else "",
            "scope": "payments",
        }
        headers = {"content-type": "application/x-www-form-urlencoded"}
        url = f"{self.config.auth_url}/connect/token"
        return ApiRequest("POST", url, headers, urlencode(form).encode())

    def _payment(self, raw: Raw, event: Event, payment: Payment) -> Facts:
        word, status = event.type, self._status[event.type]
        fact = payments.event(raw, "", word, status, payment, event.event_id)
        return Facts(payments=(payments.unjoined(fact, payment.payment_id),))

    def _answer(self, raw: Raw) -> Facts:
        answered = reading.load(Answered, raw.body)
        link, link_id = answered.payment_link, reading.same_link(raw, answered.payment_link.id)
        told = [fact for p in answered.payments for fact in self._told(raw, link_id, p)]
        paid = next((event for event in told if event["status"] == "PAID"), None)
        word = f"disabled/{link.disabled_reason}" if link.disabled_reason else link.status
        status = reading.status(STATUS, link_id, word)
        if word == "disabled" and paid:
            status = "PAID"
        event = raw.event(
            link_id,
            status,
            word,
            occurred_at=reading.micros(link.disabled_at),
            payment_id=paid["payment_id"] if paid and status == "PAID" else None,
            denies=raw.denial("PAID" if paid else status),
            reason=None if paid or word != "disabled" else "disabled, and no payment tells why",
        )
        belonging = (payments.belongs(raw, p.payment_id, link_id) for p in answered.payments)
        return Facts(events=(event, *told), payments=tuple(belonging))

    def _told(self, raw: Raw, link_id: str, payment: Payment) -> list[LinkEvent]:
        word = payments.word(payment)
        status = reading.status(self._status, link_id, word)
        told = [payments.event(raw, link_id, word, status, payment)]
        if word == "payment_failed" and payment.executed_at:
            # It had been executed before, whether we were told of that or not.
            told.append(payments.event(raw, link_id, "payment_executed", "PROCESSING", payment))
        return told


def _created(raw: Raw, event: PaymentCreated) -> Facts:
    fact = raw.event(
        event.payment_link_id,
        STATUS[event.type],
        event.type,
        occurred_at=reading.micros(event.payment.created_at),
        payment_id=event.payment.payment_id,
        payment_status="INITIATED",
        attributes=reading.texts({"event_version": event.event_version}),
        identity=(event.event_id, event.type, event.payment.payment_id),
    )
    belonging = payments.belongs(raw, event.payment.payment_id, event.payment_link_id)
    return Facts((fact,), (belonging,))


def _disabled(raw: Raw, event: Disabled) -> Facts:
    word = f"disabled/{event.disabled_reason}"[:200]
    link_id, at = event.payment_link_id, reading.micros(event.disabled_at)
    status = reading.status(STATUS, link_id, word)
    identity = (event.event_id, word)
    told = reading.texts({"event_version": event.event_version})
    fact = raw.event(link_id, status, word, occurred_at=at, attributes=told, identity=identity)
    return Facts((fact,))
