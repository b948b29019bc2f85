"""Peach Payments (South Africa, Kenya, Mauritius): Payment Links.

Vendor documents: "Payment Links webhooks", "Query payment", "Cancel link", "Payment Links
    authentication", "Checkout webhooks", "Checkout authentication", "Response codes".

Signature: optional. The headers carry an HMAC-SHA256 (hex) over `timestamp.webhookId.url.payload`.
    The url is the webhook URL configured at Peach, or a link's own URL on the same host. A new
    secret takes effect at once, so we accept several. A relayed Checkout event may carry
    `signature` in its body instead. Batch events and the probe that Peach sends when a webhook is
    configured are unsigned: we check the claim of a batch event with the batch query and store the
    answer as a notice `batch_lookup`.
Retries: after 2, 4, 8, 15, 30 minutes and 1 hour, then daily for 30 days, until the answer is
    exactly 200.
Delivery guarantee: at least once, in no order; the body has no event id and no time (a signed
    callback has `x-webhook-id`).
Quirks: the `completed` example in the documents has a trailing comma and is not JSON; we keep and
    dead-letter it. Webhooks report `opened`, the query never does. The query nests the status at
    `payment.payment.status` and writes amounts as decimal numbers of major units. The values of
    `paymentBrand` differ between documents, so it is free text. For Checkout, `cancelled` and
    `uncertain` are not final, and a refund (`paymentType` RF) succeeds like a sale, so only the
    Checkout event of a capture (CP) says that a link is paid. The `checkoutId` in a query joins
    such events to their link, for its timeline and its refunds. A link that only authorises money
    (PA), or only stores a card (amount 0), ends as `completed`, too: its webhook does not tell, the
    query does. What the query shows after a capture is not documented.
"""

import json
from collections.abc import Generator
from functools import partial
from typing import ClassVar

from pydantic import SecretStr, model_validator

from connectors.providers import (
    api,
    base,
    cancel_api,
    link_list,
    lookup_answer,
    payload,
    payout_api,
)
from connectors.providers.peach import batches, checkout, history, links, recon, signature
from connectors.providers.raw import Raw
from schemas import ids
from schemas.records import LookupRequest, Status

_LIVE_URL = "https://links.peachpayments.com"
STATUS: dict[str, Status] = {
    "initiated": "CREATED",
    "opened": "OPENED",
    "processing": "PROCESSING",
    "completed": "PAID",
    "cancelled": "CANCELLED",
    "expired": "EXPIRED",
}


class PeachConfig(base.ProviderConfig):
    links_url: api.Url = _LIVE_URL
    auth_url: api.Url = "https://dashboard.peachpayments.com"
    recon_url: api.Url = "https://reconciliation.peachpayments.com"
    client_id: str | None = None
    client_secret: SecretStr | None = None
    merchant_id: str | None = None
    webhook_secrets: tuple[SecretStr, ...] = ()
    # Exactly the URL that is configured at Peach: it is part of the signed text.
    webhook_url: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether the API charges real money. Peach's test API has another address."""
        return self.links_url == _LIVE_URL

    @model_validator(mode="after")
    def _signed_url_is_known(self) -> "PeachConfig":
        if self.webhook_secrets and not self.webhook_url:
            raise ValueError("WEBHOOK_SECRETS needs WEBHOOK_URL: it is part of the signed text")
        return self


class Peach(base.Provider):
    kind = "peach"
    Config = PeachConfig
    settlement = "elsewhere"
    STATUS: ClassVar[payload.Statuses] = STATUS
    CREDENTIALS = ("client_id", "client_secret", "merchant_id")
    PAYOUT_COLUMNS = recon.COLUMNS
    # A little below Peach's limit, because its clock is not ours.
    PAYOUT_CALLS_PER_SECOND = 0.95
    PAYOUTS_SINCE = recon.SINCE
    LINK_COLUMNS = ("paymentid", "id")
    kept_headers = frozenset({*signature.HEADERS, "x-webhook-signature-algorithm"})

    def __init__(self, config: PeachConfig, name: str = "") -> None:
        super().__init__(config, name)
        self._secrets = [secret.get_secret_value() for secret in config.webhook_secrets]
        self._token = api.Token()

    def key(self, body: bytes, content_type: str) -> str | None:
        if not checkout.is_form(body, content_type):
            return payload.first_identifier(body, "paymentId", "batchId", "id")
        try:
            checkout_id = checkout.form_fields(body).get("checkoutId")
        except base.Unreadable:
            return None
        return checkout_id if ids.is_identifier(checkout_id) else None

    def authenticate(self, inbound: base.Inbound, jwks: bytes | None, now: int) -> bool:
        if not self._secrets:
            return False
        url, secrets = self.config.webhook_url or "", self._secrets
        if signature.in_header(inbound, url, secrets) or signature.in_body(inbound, secrets):
            return True
        has_signature = any(name in inbound.headers for name in signature.HEADERS)
        if not has_signature and _is_sent_unsigned(inbound.content):
            return False
        raise base.BadSignature("x-webhook-signature is missing or wrong")

    def read(self, raw: Raw) -> base.Facts:
        if raw.link_id is not None:
            return self._answer_facts(raw, raw.link_id)
        if checkout.is_form(raw.body, raw.headers.get("content-type", "")):
            notice = checkout.checkout_notice(raw)
            payments = checkout.timeline_events(raw, notice, self.config.is_live)
            return base.Facts(payments=payments, notices=(notice,))
        document = payload.json_object(raw.body)
        if "paymentId" in document:
            events = links.callback_events(raw, document, STATUS, self.can_look_up())
            if batches.batch_id_of(events[0]["link_id"]) is not None:
                raise base.Unreadable("paymentId: is the name of a batch")
            return base.Facts(events)
        notice = batches.callback_notice(raw, document)
        lookups = batches.lookups(raw, notice) if self.can_look_up() else ()
        return base.Facts(notices=(notice,), lookups=lookups)

    def lookup(self, request: LookupRequest, now: int) -> base.Lookup:
        batch_id = batches.batch_id_of(request["link_id"])
        what, subject_id = ("batches", batch_id) if batch_id else ("payments", request["link_id"])
        response = yield from self._call("GET", what, subject_id, now)
        document = api.document_of(response, f"GET {what}")
        status = payload.member(document, "payment", "payment", "status")
        stated_id = payload.member(document, "payment", "id")
        ended = lookup_answer.has_ended(STATUS, request, stated_id, status)
        if ended and links.is_unpaid(document, STATUS, self.config.is_live):
            ended = False
        return base.Answer(response.status, response.body, ended)

    def _answer_facts(self, raw: Raw, subject_id: str) -> base.Facts:
        if batch_id := batches.batch_id_of(subject_id):
            return base.Facts(notices=(batches.answer_notice(raw, batch_id),))
        if not_found := lookup_answer.not_found_facts(raw):
            return not_found
        event = links.answer_event(raw, STATUS, self.config.is_live)
        checkout_id = event["attributes"].get("checkoutId")
        return base.Facts((event,), checkout.link_of_checkout(raw, checkout_id, event["link_id"]))

    def cancel(self, link_id: str, now: int) -> cancel_api.Cancellation:
        """Peach cancels only an unpaid link, `initiated` and not expired; it is permanent."""
        return cancel_api.judge((yield from self._call("DELETE", "payments", link_id, now)))

    def list_links(self, start: int, end: int, now: int) -> link_list.LinkList:
        call = partial(self._with_token, now)
        return history.requests(call, self.config.links_url, start, end)

    def payouts(self, start: int, end: int, now: int) -> payout_api.Payouts:
        c, call = self.config, partial(self._with_token, now)
        return recon.requests(call, c.recon_url, c.merchant_id or "", start, end)

    def read_payouts(self, body: bytes) -> payout_api.PayoutLines:
        return recon.lines(body)

    def _call(
        self, method: str, what: str, subject_id: str, now: int
    ) -> Generator[base.ApiRequest, base.ApiResponse, base.ApiResponse]:
        url = f"{self.config.links_url}/api/{what}/{api.path_part(subject_id)}"
        return self._with_token(now, base.ApiRequest(method, url, {"accept": "application/json"}))

    def _with_token(
        self, now: int, request: base.ApiRequest
    ) -> Generator[base.ApiRequest, base.ApiResponse, base.ApiResponse]:
        return self._token.call(self._token_request(), request, now)

    def _token_request(self) -> base.ApiRequest:
        c = self.config
        credentials = {
            "clientId": c.client_id,
            "clientSecret": c.client_secret.get_secret_value() if c.client_secret else None,
            "merchantId": c.merchant_id,
        }
        body = json.dumps(credentials).encode()
        url = f"{c.auth_url}/api/oauth/token"
        return base.ApiRequest("POST", url, {"content-type": "application/json"}, body)


def _is_sent_unsigned(body: bytes) -> bool:
    """Return whether this is a batch event or a configuration probe."""
    try:
        document = payload.json_object(body)
    except base.Unreadable:
        return False
    return batches.is_batch(document) or batches.is_probe(document)
