"""TrueLayer: payment links of the Payments API v3 (open banking).

Vendor documents: "Payment link webhook specifications", "Monitor payment links", "Payment
    webhooks", "Payment statuses", "Settlement risk and the payment_creditable webhook"; the package
    truelayer-signing.

Signature: always. `Tl-Signature` is a detached JWS (ES512) over method, path, headers and body. Its
    `jku` must be exactly the one of our environment; we check this before we fetch any key. The
    signature must cover `X-TL-Webhook-Timestamp`, but we do not limit its age: retries last 72
    hours and may keep or renew the timestamp. A repeat is harmless, because `event_id` makes it the
    same event.
Retries: until a 2xx answer, at growing intervals, for up to 72 hours.
Delivery guarantee: at least once, in no documented order.
Quirks: payment events name only their payment; the join adds the link, in either order. A failed
    payment is an attempt and leaves its link open. `executed` ends a payment only on an external
    account. The same URI receives refunds, payouts and disputes, see `refunds`, and mandates. Ids
    are opaque, and not always UUIDs. Only `status` in the body of GET payment link is documented.
    The signing library raises many kinds of errors.
"""

from collections.abc import Generator
from dataclasses import replace
from typing import Any, ClassVar, Literal
from urllib.parse import urlencode, urlsplit

from pydantic import Field, SecretStr

from connectors.providers import api, base, facts, lists, lookup_answer, payload, payout_api
from connectors.providers.raw import Raw
from connectors.providers.truelayer import (
    links,
    others,
    payments,
    refund_answers,
    refunds,
    signature,
    transactions,
)
from connectors.providers.truelayer.payments import Payment
from schemas.records import LookupRequest, Status
from schemas.refund_records import RefundRef

STATUS: dict[str, Status] = {
    # Webhooks of the link. The reason why a link was disabled is part of the status.
    "payment_link_payment_created": "PROCESSING",
    "disabled/fulfilled": "PAID",
    "disabled/expired": "EXPIRED",
    # GET payment link. `disabled` without a reason does not say how the link ended.
    "enabled": "CREATED",
    "disabling": "PROCESSING",
    "disabled": "PROCESSING",
    # Webhooks of the payment, joined to the link. On an external account, executed is PAID.
    "payment_authorized": "PROCESSING",
    "payment_executed": "PROCESSING",
    "payment_settlement_stalled": "PROCESSING",
    "payment_settled": "PAID",
    "payment_creditable": "PAID",
    "payment_failed": "UNKNOWN",
    # GET payments of the link: the same without `payment_`, and three that have no webhook.
    "payment_authorization_required": "PROCESSING",
    "payment_authorizing": "PROCESSING",
    "payment_attempt_failed": "PROCESSING",
}


class TrueLayerConfig(base.ProviderConfig):
    # One environment only: with the sandbox's keys, its events would be valid in production.
    jku: str = "https://webhooks.truelayer.com/.well-known/jwks"
    api_url: api.Url = "https://api.truelayer.com"
    auth_url: api.Url = "https://auth.truelayer.com"
    client_id: str | None = None
    client_secret: SecretStr | None = None
    # The URL that is configured at TrueLayer, where a proxy changes its path: the path is signed.
    webhook_url: str | None = Field(default=None, pattern=r"^https?://[^/?#]+/")
    # Where the money goes: to a merchant account at TrueLayer, which settles it, or to a bank.
    account: Literal["merchant", "external"] = "merchant"


class TrueLayer(base.Provider):
    kind = "truelayer"
    Config = TrueLayerConfig
    settlement = "by_payment"
    signs_for_all = True
    answers_refunds = True
    STATUS: ClassVar[payload.Statuses] = STATUS
    CREDENTIALS = ("client_id", "client_secret")
    PAYOUT_CALLS_PER_SECOND = None
    PAYOUTS_SINCE = 0
    LINK_COLUMNS = ("paymentlinkid", "id")
    kept_headers = frozenset({"tl-signature", "x-tl-webhook-timestamp"})

    def __init__(self, config: TrueLayerConfig, name: str = "") -> None:
        super().__init__(config, name)
        self._token = api.Token()
        # On an external account, executed is the last status of a payment.
        external: dict[str, Status] = {"payment_executed": "PAID"}
        self._statuses = STATUS | (external if config.account == "external" else {})

    def key(self, body: bytes, content_type: str) -> str | None:
        return payload.first_identifier(body, "payment_link_id", "payment_id")

    def authenticate(self, inbound: base.Inbound, jwks: bytes | None, now: int) -> bool:
        if self.config.webhook_url:
            inbound = replace(inbound, path=urlsplit(self.config.webhook_url).path)
        signature.verify(inbound, self.config.jku, jwks)
        return True

    def read(self, raw: Raw) -> base.Facts:
        if raw.refund is not None:
            return refund_answers.answer_facts(raw, raw.refund)
        if raw.link_id is not None:
            return lookup_answer.not_found_facts(raw) or self._answer_facts(raw)
        document = payload.json_object(raw.body)
        event = payload.validate(links.Event, document)
        if event.type == "payment_link_payment_created":
            return links.created_facts(raw, document, STATUS[event.type])
        if event.type == "payment_link_disabled":
            return links.disabled_facts(raw, document, STATUS)
        if event.type in payments.PAYMENT_STATUS:
            return self._payment_facts(raw, event, payload.validate(Payment, document))
        if event.type in refunds.EVENTS and (known := refunds.event_facts(raw, document)):
            return known
        return base.Facts(notices=(others.notice(raw, event.type, document),))

    def lookup(self, request: LookupRequest, now: int) -> base.Lookup:
        if request["refund"] is not None:
            return (yield from self._refund_answer(request["refund"], now))
        path = f"/v3/payment-links/{api.path_part(request['link_id'])}"
        link = yield from self._token.call(self._token_request(), self._get(path), now)
        document = api.document_of(link, "GET payment link")
        if document is None:
            return base.Answer(link.status, link.body)
        bodies = {"payment_link": link.body}
        get_payments = self._get(f"{path}/payments")
        response = yield from self._token.call(self._token_request(), get_payments, now)
        items = api.document_of(response, "GET payments of the link")
        if items is not None:
            bodies["payments"] = response.body
        statuses = (links.provider_status(document), *payments.provider_statuses(items))
        stated_id = payload.member(document, "id") or request["link_id"]
        ended = lookup_answer.has_ended(self._statuses, request, stated_id, *statuses)
        return base.Answer(link.status, api.combined(bodies), ended)

    def payouts(self, start: int, end: int, now: int) -> payout_api.Payouts:
        if self.config.account == "external":
            message = "the money goes to an external account; reconcile with a file of that account"
            raise lists.ListRefused(message)

        def call(path: str) -> Generator[base.ApiRequest, base.ApiResponse, base.ApiResponse]:
            request = replace(self._get(path), headers=transactions.HEADERS)
            return self._token.call(self._token_request(), request, now)

        return transactions.requests(call, start, end)

    def read_payouts(self, body: bytes) -> payout_api.PayoutLines:
        return transactions.lines(body)

    def _refund_answer(self, ref: RefundRef, now: int) -> base.Lookup:
        get = self._get(refund_answers.path(ref))
        response = yield from self._token.call(self._token_request(), get, now)
        document = api.document_of(response, "GET refunds")
        found = refund_answers.has_amount(document, ref)
        return base.Answer(response.status, response.body, ended=found)

    def _get(self, path: str) -> base.ApiRequest:
        return base.ApiRequest("GET", self.config.api_url + path, {"accept": "application/json"})

    def _token_request(self) -> base.ApiRequest:
        secret = self.config.client_secret
        form = {
            "grant_type": "client_credentials",
            "client_id": self.config.client_id or "",
            "client_secret": secret.get_secret_value() if secret else "",
            "scope": "payments",
        }
        headers = {"content-type": "application/x-www-form-urlencoded"}
        url = f"{self.config.auth_url}/connect/token"
        return base.ApiRequest("POST", url, headers, urlencode(form).encode())

    def _payment_facts(self, raw: Raw, event: links.Event, payment: Payment) -> base.Facts:
        status = self._statuses[event.type]
        fact = payments.event(raw, "", status, event.type, payment, event.event_id)
        return base.Facts(payments=(facts.event_of_payment(fact, payment.payment_id),))

    def _answer_facts(self, raw: Raw) -> base.Facts:
        answer = payload.parse(links.LookupAnswer, raw.body)
        link_id = lookup_answer.checked_link_id(raw, answer.payment_link.id)
        of_payments = facts.of_items(
            raw, "payments", answer.payments, lambda item: self._item_facts(raw, link_id, item)
        )
        if raw.item is not None:
            return of_payments
        paid = next((event for event in of_payments.events if event["status"] == "PAID"), None)
        if of_payments.refused:
            # The payment that cannot be read may be the claimed one.
            raw = replace(raw, final=False)
        link = links.answer_event(raw, answer, STATUS, paid)
        # Payments first: the answer releases the events of an unknown link, and an order that
        # closes with them needs the amount.
        return of_payments._replace(events=(*of_payments.events, link))

    def _item_facts(self, raw: Raw, link_id: str, item: Any) -> base.Facts:
        payment = payload.validate(Payment, item)
        # A time that cannot be read states it, too.
        creditable_at = payload.member(item, "creditable_at")
        name = payments.provider_status(payment.status, creditable_at)
        status = payload.map_status(self._statuses, link_id, name)
        events = [payments.event(raw, link_id, status, name, payment)]
        if name == "payment_failed" and payload.member(item, "executed_at"):
            # It was executed before it failed, even if we received no event of that.
            events.append(payments.event(raw, link_id, "PROCESSING", "payment_executed", payment))
        join = facts.link_of_payment(raw, payment.payment_id, link_id)
        return base.Facts(tuple(events), (join,))
