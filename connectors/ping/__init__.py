"""Ping Payments (Sweden): payment links of the Payment Links API, orders of the Payments API.

Vendor documents: "Handling Responses and Callbacks", "Fetch a Full Representation of a Payment
    Link", "Authentication", "Close, split and settle the PaymentOrder". Cancelling a
    link is as Ping's own SDKs do it.

Signature: optional at Ping, its header and algorithm undocumented: scheme and header can be set
    (`signature`), and then what does not fit is refused. Signed or not, every callback is a claim
    and the lookup is the authority. The header is kept with the raw bytes, set or not, so that its
    name is seen there and a scheme can be tried on what came before it was known.
Retries: undocumented, and so are order and repeats; Ping itself recommends polling as well.
Delivery guarantee: a lost callback is made good by polling; a repeat has the same event id.
Quirks: the callback's time is misspelt `occured_at` (the Payments API spells it right: both are
    read); the callback names neither payment, order nor amount; the link has no currency, its order
    has; several links may share an order; the header is `tenant_id`, with an underscore, which some
    proxies drop; the production hosts of Ping's own two SDKs differ, so both URLs are settings; a
    callback of a disbursement, if it comes to us, is kept as a notice.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import AliasChoices, Field, SecretStr, model_validator

from connectors import calling, cancel_api, reading
from connectors.ping import signature
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
from schemas.records import LinkEvent, LookupRequest, Notice, Status

STATUS: dict[str, Status] = {
    "CREATED": "CREATED",
    "COMPLETED": "PAID",
    "EXPIRED": "EXPIRED",
    "CANCELLED": "CANCELLED",
}


class PingConfig(ProviderConfig):
    links_url: calling.Url = "https://production.pingpayments.com/payment_links"
    payments_url: calling.Url = "https://production.pingpayments.com/payments"
    tenant_id: str | None = None
    api_secret: SecretStr | None = None
    # One order may have several links, and only the lookup names it.
    order_from: Literal["lookup", "self", "registration"] = "lookup"
    signature_scheme: str | None = None
    signature_header: str | None = None
    # Several for rotation.
    signing_keys: tuple[SecretStr, ...] = ()

    @model_validator(mode="after")
    def _signature_is_whole(self) -> "PingConfig":
        told = (self.signature_scheme, self.signature_header, self.signing_keys)
        if any(told) and not all(told):
            raise ValueError("SIGNATURE_SCHEME, SIGNATURE_HEADER and SIGNING_KEYS go together")
        if self.signature_scheme and self.signature_scheme not in signature.SCHEMES:
            raise ValueError(f"SIGNATURE_SCHEME is not one of {', '.join(signature.SCHEMES)}")
        return self


class Callback(reading.Payload):
    payment_link_id: reading.Identifier
    status: reading.Identifier
    occured_at: reading.Moment | None = Field(
        default=None, validation_alias=AliasChoices("occured_at", "occurred_at")
    )


class Disbursement(reading.Payload):
    """The tenant's money was paid out; sent to `disbursement_callback_url`, if that is ours."""

    id: reading.Identifier
    disbursed_at: reading.Moment


class Link(reading.Payload):
    payment_link_id: reading.Identifier
    status: reading.Identifier
    payment_order_id: reading.Identifier | None = None
    payment_id: reading.Identifier | None = None
    # Minor units; the currency is the order's.
    total_amount: int | None = Field(default=None, ge=0, lt=10**15, strict=True)


class Order(reading.Payload):
    currency: reading.CurrencyCode | None = None


class Answered(reading.Payload):
    payment_link: Link
    payment_order: Order = Order()


class Ping:
    """Payment links of Ping Payments."""

    name: ClassVar[str] = "ping"
    Config: ClassVar[type[ProviderConfig]] = PingConfig
    settlement: ClassVar[SettlementMode] = "by_order"
    polls: ClassVar[bool] = True
    ends_for_good: ClassVar[bool] = False
    calls_at_once: ClassVar[int] = 8
    STATUS: ClassVar[Mapping[str, Status]] = STATUS

    def __init__(self, config: PingConfig) -> None:
        self.config = config
        self._keys = [key.get_secret_value() for key in config.signing_keys]

    @property
    def kept_headers(self) -> frozenset[str]:
        header = self.config.signature_header
        return frozenset({header.lower()} if header else ())

    def key(self, body: bytes, content_type: str) -> str | None:
        return reading.first_identifier(body, "payment_link_id")

    def authenticate(self, inbound: Inbound, jwks: bytes | None, now: int) -> bool:
        scheme, header = self.config.signature_scheme, self.config.signature_header
        if scheme and header:
            signature.verify(inbound, scheme, header, self._keys)
        # The callback names neither payment nor order: the lookup must, so it stays the authority.
        return False

    def read(self, raw: Raw) -> Facts:
        if raw.link_id is not None:
            return reading.refusal(raw) or Facts(events=(_answer(raw),))
        payload = reading.json_object(raw.body)
        if "disbursed_at" in payload and "payment_link_id" not in payload:
            return Facts(notices=(_disbursement(raw, payload),))
        return Facts(events=(_claim(raw, payload),))

    def can_look_up(self) -> bool:
        return bool(self.config.tenant_id and self.config.api_secret)

    def lookup(self, request: LookupRequest, now: int) -> Lookup:
        link_path = f"payment_links/{calling.path_part(request['link_id'])}"
        link = yield self._call("GET", self.config.links_url, link_path)
        if not calling.succeeded(link, "GET payment link"):
            return Answer(link.status, link.body)
        bodies = {"payment_link": link.body}
        order_id = reading.first_identifier(link.body, "payment_order_id")
        if order_id:
            order_path = f"payment_orders/{calling.path_part(order_id)}"
            order = yield self._call("GET", self.config.payments_url, order_path)
            # Without its order a link still has its status; only the currency is missing.
            if calling.succeeded(order, "GET payment order"):
                bodies["payment_order"] = order.body
        return Answer(link.status, calling.together(bodies))

    def cancel(self, link_id: str, now: int) -> cancel_api.Cancelling:
        """204; 403 when it was cancelled before, or cannot be any more."""
        path = f"payment_links/{calling.path_part(link_id)}/cancel"
        return cancel_api.judge((yield self._call("PUT", self.config.links_url, path, b"{}")))

    def _call(self, method: str, base: str, path: str, body: bytes = b"") -> ApiRequest:
        secret = self.config.api_secret
        headers = {
            "accept": "application/json",
            "tenant_id": self.config.tenant_id or "",
            "x-api-secret": secret.get_secret_value() if secret else "",
        }
        if body:
            headers["content-type"] = "application/json"
        return ApiRequest(method, f"{base}/api/v1/{path}", headers, body)


def _disbursement(raw: Raw, payload: Mapping[str, Any]) -> Notice:
    disbursement = reading.checked(Disbursement, payload)
    at = {"disbursed_at": disbursement.disbursed_at.isoformat()}
    return raw.notice("disbursement", subject_id=disbursement.id, attributes=at)


def _claim(raw: Raw, payload: Mapping[str, Any]) -> LinkEvent:
    callback = reading.checked(Callback, payload)
    return raw.event(
        callback.payment_link_id,
        reading.status(STATUS, callback.payment_link_id, callback.status),
        callback.status,
        occurred_at=reading.micros(callback.occured_at),
    )


def _answer(raw: Raw) -> LinkEvent:
    answered = reading.load(Answered, raw.body)
    link = answered.payment_link
    link_id = reading.same_link(raw, link.payment_link_id)
    status, reason = reading.status(STATUS, link_id, link.status), None
    # COMPLETED is the provider's word for what was claimed, though we wait for the rest of it.
    denies = raw.denial(status)
    if status == "PAID" and not (link.payment_id and link.payment_order_id):
        missing = "payment_order_id" if link.payment_id else "payment_id"
        status, reason = "PROCESSING", f"COMPLETED without {missing}"
    return raw.event(
        link_id,
        status,
        link.status,
        payment_id=link.payment_id,
        payment_status="PAID" if status == "PAID" else None,
        order_id=link.payment_order_id,
        amount_minor=link.total_amount,
        currency=answered.payment_order.currency,
        denies=denies,
        reason=reason,
    )
