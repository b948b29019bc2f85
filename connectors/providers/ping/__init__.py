"""Ping Payments (Sweden): payment links of the Payment Links API, orders of the Payments API.

Vendor documents: "Handling Responses and Callbacks", "Fetch a Full Representation of a Payment
    Link", "Authentication", "Close, split and settle the PaymentOrder". The cancellation of a link
    follows Ping's own SDKs. Orders: reference pages v1closepaymentorder, v1splitpaymentorder,
    v1settlepaymentorder; all three calls are idempotent.

Signature: optional at Ping; its header and algorithm are not documented. The settings guess a
    scheme and a header, which are on trial until a callback fits them: others are counted and kept
    before, and refused afterwards. Every callback is a claim, signed or not, and the lookup is the
    authority. The header is always stored with the raw bytes, so that an operator can see its name
    and try a scheme on older callbacks.
Retries: not documented, and neither are order and repeats. Ping itself recommends polling as well.
Delivery guarantee: polling makes up for a lost callback; a repeat has the same event id.
Quirks: the callback spells its time `occured_at`, the Payments API `occurred_at`: we read both. The
    callback names no payment, order or amount. A link has no currency, its order has one. Several
    links can share an order. The header `tenant_id` has an underscore, which some proxies drop. The
    API shows refunds of a payment, and no callback reports them. The production hosts in Ping's
    two SDKs differ, so both URLs are settings. A callback of a disbursement, if Ping sends it to
    us, becomes a notice.
"""

import contextlib
import json
from collections.abc import Generator
from typing import Any, ClassVar, Literal

from pydantic import SecretStr, model_validator

from connectors.providers import (
    api,
    base,
    cancel_api,
    link_list,
    lookup_answer,
    order_api,
    payload,
    payout_api,
)
from connectors.providers.base import ApiRequest
from connectors.providers.order_api import OrderAction
from connectors.providers.ping import disbursements, history, links, signature
from connectors.providers.raw import Raw
from schemas import ids
from schemas.records import LookupRequest, Status

STATUS: dict[str, Status] = {
    "CREATED": "CREATED",
    "COMPLETED": "PAID",
    "EXPIRED": "EXPIRED",
    "CANCELLED": "CANCELLED",
}
# Of an order's action: the request is wrong or the order does not exist, a retry cannot help.
_PERMANENT = frozenset({400, 404, 405, 410, 422})


class PingConfig(base.ProviderConfig):
    links_url: api.Url = "https://production.pingpayments.com/payment_links"
    payments_url: api.Url = "https://production.pingpayments.com/payments"
    tenant_id: str | None = None
    api_secret: SecretStr | None = None
    # An order can have several links, and only the lookup names the order.
    order_from: Literal["lookup", "self", "registration"] = "lookup"
    signature_scheme: str | None = None
    signature_header: str | None = None
    # Several, for rotation.
    signing_keys: tuple[SecretStr, ...] = ()

    @model_validator(mode="after")
    def _signature_is_complete(self) -> "PingConfig":
        settings = (self.signature_scheme, self.signature_header, self.signing_keys)
        if any(settings) and not all(settings):
            raise ValueError("SIGNATURE_SCHEME, SIGNATURE_HEADER and SIGNING_KEYS go together")
        if self.signature_scheme and self.signature_scheme not in signature.SCHEMES:
            raise ValueError(f"SIGNATURE_SCHEME is not one of {', '.join(signature.SCHEMES)}")
        return self


class Ping(base.Provider):
    kind = "ping"
    Config = PingConfig
    settlement = "by_order"
    STATUS: ClassVar[payload.Statuses] = STATUS
    CREDENTIALS = ("tenant_id", "api_secret")
    PAYOUT_CALLS_PER_SECOND = None
    PAYOUTS_SINCE = 0
    LINK_COLUMNS = ("paymentlinkid", "id")

    def __init__(self, config: PingConfig, name: str = "") -> None:
        super().__init__(config, name)
        self._keys = [key.get_secret_value() for key in config.signing_keys]
        self._is_proven = False

    @property
    def kept_headers(self) -> frozenset[str]:
        header = self.config.signature_header
        return frozenset({header.lower()} if header else ())

    def key(self, body: bytes, content_type: str) -> str | None:
        return payload.first_identifier(body, "payment_link_id")

    def authenticate(self, inbound: base.Inbound, jwks: bytes | None, now: int) -> bool:
        scheme, header = self.config.signature_scheme, self.config.signature_header
        if scheme and header:
            fits = signature.fits(inbound, scheme, header, self._keys)
            if not self._is_proven:
                self._is_proven = fits
                raise base.OnTrial(fits)
            if not fits:
                raise base.BadSignature(f"{header} is missing or wrong")
        # The callback names no payment and no order, so the lookup stays the authority.
        return False

    def read(self, raw: Raw) -> base.Facts:
        if raw.link_id is not None:
            not_found = lookup_answer.not_found_facts(raw)
            return not_found or links.answer_facts(raw, STATUS)
        document = payload.json_object(raw.body)
        if links.is_disbursement(document):
            return base.Facts(notices=(links.disbursement_notice(raw, document),))
        return base.Facts(events=(links.callback_event(raw, document, STATUS),))

    def lookup(self, request: LookupRequest, now: int) -> base.Lookup:
        link_path = f"payment_links/{api.path_part(request['link_id'])}"
        response = yield self._request("GET", self.config.links_url, link_path)
        document = api.document_of(response, "GET payment link")
        if document is None:
            return base.Answer(response.status, response.body)
        bodies = {"payment_link": response.body}
        order_id = payload.member(document, "payment_order_id")
        if ids.is_identifier(order_id):
            order_path = f"payment_orders/{api.path_part(order_id)}"
            order = yield self._request("GET", self.config.payments_url, order_path)
            # A link without its order still has a status; only the currency is missing.
            known = api.document_of(order, "GET payment order")
            if known is not None:
                bodies["payment_order"] = order.body
                bodies |= yield from self._payment(order_path, document, known)
        ended = links.has_ended(document, request, STATUS)
        return base.Answer(response.status, api.combined(bodies), ended)

    def _payment(
        self, order_path: str, link: Any, order: Any
    ) -> Generator[base.ApiRequest, base.ApiResponse, dict[str, bytes]]:
        """Return the body of a paid link's payment, which shows refunds; nothing if the order shows
        its payments.
        """
        payment_id = payload.member(link, "payment_id")
        if not ids.is_identifier(payment_id) or payload.member(order, "payments") is not None:
            return {}
        path = f"{order_path}/payments/{api.path_part(payment_id)}"
        payment = yield self._request("GET", self.config.payments_url, path)
        # The link's status does not wait for it.
        with contextlib.suppress(base.RetryableApiError):
            if api.document_of(payment, "GET payment") is not None:
                return {"payment": payment.body}
        return {}

    def cancel(self, link_id: str, now: int) -> cancel_api.Cancellation:
        """Ping answers 204, or 403 if the link is already cancelled or cannot be any more."""
        path = f"payment_links/{api.path_part(link_id)}/cancel"
        response = yield self._request("PUT", self.config.links_url, path, {})
        return cancel_api.judge(response)

    def order_request(self, order_id: str, action: OrderAction, fast_forward: bool) -> ApiRequest:
        path = f"payment_orders/{api.path_part(order_id)}/{action.lower()}"
        document = {} if action == "CLOSE" else {"fast_forward": fast_forward}
        return self._request("PUT", self.config.payments_url, path, document)

    def order_verdict(self, action: OrderAction, response: base.ApiResponse) -> order_api.Verdict:
        """Ping answers 403 to a close while a payment of the order has not ended, to a split before
        the close, and to a settle before the split: each 403 means "later". A proxy's page says
        nothing of the order.
        """
        is_page = api.is_page(response)
        if 200 <= response.status < 300 and not is_page:
            return order_api.Done()
        reason = f"{action} answered {response.status}: {api.error_text(response.body)}"
        if response.status in _PERMANENT:
            return order_api.Refused(reason)
        return order_api.Wait(reason, provider_down=is_page or response.status not in {403, 409})

    def list_links(self, start: int, end: int, now: int) -> link_list.LinkList:
        links_url, orders_url = self.config.links_url, self.config.payments_url
        return history.requests(
            self._request("GET", links_url, "payment_links"),
            lambda query: self._request("GET", orders_url, f"payment_orders?{query}"),
            start,
            end,
        )

    def payouts(self, start: int, end: int, now: int) -> payout_api.Payouts:
        url = self.config.payments_url
        return disbursements.requests(lambda path: self._request("GET", url, path), start, end)

    def read_payouts(self, body: bytes) -> payout_api.PayoutLines:
        return disbursements.lines(body)

    def _request(
        self, method: str, base_url: str, path: str, document: payload.Document | None = None
    ) -> ApiRequest:
        """Return a request to one of Ping's APIs, with the merchant's credentials."""
        secret = self.config.api_secret
        headers = {
            "accept": "application/json",
            "tenant_id": self.config.tenant_id or "",
            "x-api-secret": secret.get_secret_value() if secret else "",
        }
        body = b""
        if document is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(document).encode()
        return ApiRequest(method, f"{base_url}/api/v1/{path}", headers, body)
