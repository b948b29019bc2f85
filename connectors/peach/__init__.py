"""Peach Payments (South Africa, Kenya, Mauritius): Payment Links.

Vendor documents: "Payment Links webhooks", "Query payment", "Cancel link", "Payment
    Links authentication", "Checkout webhooks", "Checkout authentication", "Response codes".

Signature: opt-in. Header HMAC-SHA256 (hex) over `timestamp.webhookId.url.payload`, the url being
    the webhook URL as configured at Peach, or the link's own on the same host; a new secret takes
    effect at once, so several are accepted. Relayed Checkout events may instead carry `signature`
    in the body. Batch events and the probe sent when a webhook is configured are unsigned: what a
    batch event claims is asked of the batch query, and its answer kept beside it as the notice
    "batch lookup".
Retries: after 2, 4, 8, 15, 30 minutes and 1 hour, then daily to 30 days, until answered with
    exactly 200.
Delivery guarantee: at least once, in no order; no event id or time in the body (`x-webhook-id` when
    signed).
Quirks: the documents' own `completed` example has a trailing comma and is no JSON: it is kept and
    dead-lettered; `opened` is told by webhooks, never by the query; the query nests the status at
    `payment.payment.status` and writes amounts as decimal numbers of major units; the values of
    `paymentBrand` differ between documents, so it is free text; for Checkout `cancelled` and
    `uncertain` are not final, and a refund (`paymentType` RF) succeeds like a sale: such events
    never say that a link is paid; they are joined to the link by the `checkoutId` that a query
    tells, for its timeline.
"""

import json
from collections.abc import Generator, Mapping
from typing import ClassVar

from pydantic import SecretStr, model_validator

from connectors import calling, cancel_api, reading
from connectors.peach import batches, checkout, links, signature
from connectors.provider import (
    Answer,
    ApiRequest,
    ApiResponse,
    BadSignature,
    Facts,
    Inbound,
    Lookup,
    ProviderConfig,
    Raw,
    SettlementMode,
    Unreadable,
)
from schemas.records import LookupRequest, Status

STATUS: dict[str, Status] = {
    "initiated": "CREATED",
    "opened": "OPENED",
    "processing": "PROCESSING",
    "completed": "PAID",
    "cancelled": "CANCELLED",
    "expired": "EXPIRED",
}


class PeachConfig(ProviderConfig):
    links_url: calling.Url = "https://links.peachpayments.com"
    auth_url: calling.Url = "https://dashboard.peachpayments.com"
    client_id: str | None = None
    client_secret: SecretStr | None = None
    merchant_id: str | None = None
    webhook_secrets: tuple[SecretStr, ...] = ()
    # The URL configured at Peach, to the letter: it is part of what is signed.
    webhook_url: str | None = None

    @model_validator(mode="after")
    def _url_is_signed(self) -> "PeachConfig":
        if self.webhook_secrets and not self.webhook_url:
            raise ValueError(
                "WEBHOOK_URL is needed with WEBHOOK_SECRETS: it is part of what is signed"
            )
        return self


class Peach:
    """Payment links of Peach Payments."""

    name: ClassVar[str] = "peach"
    Config: ClassVar[type[ProviderConfig]] = PeachConfig
    settlement: ClassVar[SettlementMode] = "elsewhere"
    polls: ClassVar[bool] = True
    ends_for_good: ClassVar[bool] = False
    calls_at_once: ClassVar[int] = 8
    kept_headers: ClassVar[frozenset[str]] = frozenset(
        {*signature.HEADERS, "x-webhook-signature-algorithm"}
    )
    STATUS: ClassVar[Mapping[str, Status]] = STATUS

    def __init__(self, config: PeachConfig) -> None:
        self.config = config
        self._secrets = [secret.get_secret_value() for secret in config.webhook_secrets]
        self._token = calling.Token()

    def key(self, body: bytes, content_type: str) -> str | None:
        if not checkout.is_form(body, content_type):
            return reading.first_identifier(body, "paymentId", "batchId", "id")
        try:
            checkout_id = checkout.fields(body).get("checkoutId")
        except Unreadable:
            return None
        return checkout_id if reading.is_identifier(checkout_id) else None

    def authenticate(self, inbound: Inbound, jwks: bytes | None, now: int) -> bool:
        if not self._secrets:
            return False
        url, secrets = self.config.webhook_url or "", self._secrets
        if signature.in_header(inbound, url, secrets) or signature.in_body(inbound, secrets):
            return True
        claimed = any(name in inbound.headers for name in signature.HEADERS)
        if not claimed and _comes_unsigned(inbound.body):
            return False
        raise BadSignature("x-webhook-signature is missing or wrong")

    def read(self, raw: Raw) -> Facts:
        if raw.link_id is not None:
            if batch := batches.asked_about(raw.link_id):
                return Facts(notices=(batches.answer(raw, batch),))
            return reading.refusal(raw) or _answer(raw)
        if checkout.is_form(raw.body, raw.headers.get("content-type", "")):
            notice = checkout.checkout_notice(raw)
            return Facts(payments=checkout.told_of(raw, notice), notices=(notice,))
        payload = reading.json_object(raw.body)
        if "paymentId" in payload:
            event = links.event(raw, payload, STATUS)
            if batches.asked_about(event["link_id"]) is not None:
                raise Unreadable("paymentId: is a batch's name")
            return Facts(events=(event,))
        notice = checkout.other_notice(raw, payload)
        questions = batches.questions(raw, notice) if self.can_look_up() else ()
        return Facts(notices=(notice,), questions=questions)

    def can_look_up(self) -> bool:
        c = self.config
        return bool(c.client_id and c.client_secret and c.merchant_id)

    def lookup(self, request: LookupRequest, now: int) -> Lookup:
        batch = batches.asked_about(request["link_id"])
        what, identifier = ("batches", batch) if batch else ("payments", request["link_id"])
        response = yield from self._call("GET", what, identifier, now)
        calling.succeeded(response, f"GET {what}")
        return Answer(response.status, response.body)

    def cancel(self, link_id: str, now: int) -> cancel_api.Cancelling:
        """Only while it is unpaid, `initiated` and has not expired; it cannot be undone."""
        return cancel_api.judge((yield from self._call("DELETE", "payments", link_id, now)))

    def _call(
        self, method: str, what: str, identifier: str, now: int
    ) -> Generator[ApiRequest, ApiResponse, ApiResponse]:
        url = f"{self.config.links_url}/api/{what}/{calling.path_part(identifier)}"
        request = ApiRequest(method, url, {"accept": "application/json"})
        return self._token.call(self._token_request(), request, now)

    def _token_request(self) -> ApiRequest:
        c = self.config
        credentials = {
            "clientId": c.client_id,
            "clientSecret": c.client_secret.get_secret_value() if c.client_secret else None,
            "merchantId": c.merchant_id,
        }
        body = json.dumps(credentials).encode()
        url = f"{c.auth_url}/api/oauth/token"
        return ApiRequest("POST", url, {"content-type": "application/json"}, body)


def _answer(raw: Raw) -> Facts:
    event = links.answer(raw, STATUS)
    belonging = checkout.belongs(raw, event["attributes"].get("checkoutId"), event["link_id"])
    return Facts(events=(event,), payments=belonging)


def _comes_unsigned(body: bytes) -> bool:
    """Whether Peach sends this kind of body unsigned: batch events and the configuration probe."""
    try:
        payload = reading.json_object(body)
    except Unreadable:
        return False
    return checkout.is_batch(payload) or checkout.is_probe(payload)
