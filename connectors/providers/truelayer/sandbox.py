"""The simulated TrueLayer: payment links, payments, the key set, and events signed with ES512.

Payment events have no link id. A failed attempt leaves its link enabled; `disabled` has the reason
fulfilled or expired. The same URI receives refunds, payouts and mandates. Deliveries repeat with
jitter for up to 72 hours. `link_sandbox` contains links, payments and events, `refund_sandbox` what
comes after a payment.
"""

from random import Random, SystemRandom
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from truelayer_signing import HttpMethod, sign_with_pem

from connectors.providers import simulator as sim
from connectors.providers.base import ApiRequest, ApiResponse
from connectors.providers.simulator import Callback, Doc, Lifecycle, json_response, rfc3339
from connectors.providers.truelayer import TrueLayerConfig
from connectors.providers.truelayer import account_sandbox as accounts
from connectors.providers.truelayer import link_sandbox as links
from connectors.providers.truelayer import refund_sandbox as refunds

PAID = ("executed", "settled", "creditable", "fulfilled")
EXAMPLE_PAYMENT = "60c0a60ed8d7-4e5b-ac79-401b1d8a8633"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class Sandbox(sim.Simulator):
    kind = "truelayer"
    RETRY_SECONDS = (5.0, 15.0, 60.0, 300.0, 900.0, *[3600.0] * 71)
    JITTER = 0.5
    LIFECYCLES: ClassVar = {
        "paid": Lifecycle(("payment_created", *PAID), ("PAID",), "PAID"),
        "paid at the second attempt": Lifecycle(
            ("payment_created", "failed", "payment_created", *PAID), ("PAID",), "PAID"
        ),
        "paid, the money late": Lifecycle(
            ("payment_created", "authorized", "executed", "settlement_stalled", *PAID[1:]),
            ("PAID",),
            "PAID",
        ),
        "paid, with payouts and mandates": Lifecycle(
            ("payment_created", *PAID, *links.NOTICES), ("PAID",), "PAID"
        ),
        "paid, then refunded": Lifecycle(
            ("payment_created", *PAID, "refunded"), ("PAID",), "PAID", refunded_halves=2
        ),
        "paid, then refunded in part": Lifecycle(
            ("payment_created", *PAID, "refunded_in_part"), ("PAID",), "PAID", refunded_halves=1
        ),
        "paid, then paid out": Lifecycle(
            ("payment_created", *PAID, "paid_out"), ("PAID",), "PAID", refunded_halves=2
        ),
        "paid, the refund failed": Lifecycle(
            ("payment_created", *PAID, "refund_failed"), ("PAID",), "PAID", ("REFUND_FAILED",)
        ),
        "paid, the refund returned": Lifecycle(
            ("payment_created", *PAID, "refund_returned"), ("PAID",), "PAID", ("REFUND_FAILED",)
        ),
        "paid, then disputed": Lifecycle(
            ("payment_created", *PAID, "disputed"), ("PAID",), "PAID", ("DISPUTED",), disputed=True
        ),
        "paid, disputed and reversed": Lifecycle(
            ("payment_created", *PAID, "disputed", "reversed"),
            *(("PAID",), "PAID", ("DISPUTED", "PAYMENT_REVERSED")),
            refunded_halves=2,
        ),
        "failed": Lifecycle(("payment_created", "failed"), ("PROCESSING",)),
        "failed, then expired": Lifecycle(("payment_created", "failed", "expired"), ("EXPIRED",)),
        "reversed": Lifecycle(
            ("payment_created", "executed", "failed"),
            ("PROCESSING",),
            anomalies=("PAYMENT_REVERSED",),
        ),
        "expired": Lifecycle(("expired",), ("EXPIRED",)),
        "left open": Lifecycle((), ("CREATED",), has_callbacks=False),
    }
    CURRENCY = "GBP"
    STEPS = (*links.STEPS, *links.NOTICES, *refunds.STEPS)
    EXAMPLE_LINK = "aKiW35RWSyF"

    def __init__(self, site: sim.Site, state: sim.State) -> None:
        super().__init__(site, state)
        self.refunds = refunds.Refunds(state)

    @staticmethod
    def generate_secrets() -> dict[str, str]:
        ids = {name: uuid4().hex for name in ("client_id", "client_secret", "kid")}
        return ids | {"private_key": links.private_pem()}

    @staticmethod
    def environment(site: sim.Site) -> dict[str, str]:
        return {
            "JKU": f"{site.api_url}/.well-known/jwks",
            "API_URL": site.api_url,
            "AUTH_URL": site.auth_url,
            "CLIENT_ID": site.secrets["client_id"],
            "CLIENT_SECRET": site.secrets["client_secret"],
        }

    @staticmethod
    def new_id(random: Random) -> str:
        return "".join(random.choices(_ALPHABET, k=11))

    def set_example(self, status: str, now: int) -> None:
        if self.state.get("link", self.EXAMPLE_LINK) is None:
            self._start(links.new(self.EXAMPLE_LINK, 14000, "GBP", {}, now))
            self._apply(self.EXAMPLE_LINK, EXAMPLE_PAYMENT, "payment_created", now)
            status = status or "settled"
        if status.startswith("refund_"):
            payment = self.state.get("payment", EXAMPLE_PAYMENT) or {}
            return self.refunds.set_example(payment, status.removeprefix("refund_"), now)
        step = status.removeprefix("disabled_")
        if step not in links.STEPS:
            step = step.removeprefix("payment_")
        if step in links.STEPS:
            # An expired link is not paid.
            payment_step = {"fulfilled": "settled", "expired": "failed"}.get(step, step)
            self._apply(self.EXAMPLE_LINK, EXAMPLE_PAYMENT, payment_step, now)
            self._apply(self.EXAMPLE_LINK, None, step, now)
        return None

    def create(self, link: sim.NewLink, now: int) -> None:
        self._start(links.new(link.link_id, link.amount_minor, link.currency, {}, now))

    def take_step(self, link: Doc, step: str, now: int) -> None:
        link_id = link["id"]
        payment_id = next(reversed(self._payments_of(link_id)), None)
        if step in links.NOTICES:
            self.state.enqueue(sim.json_callback(links.notice(step, now)))
            return
        if step in refunds.STEPS:
            payment = self.state.get("payment", payment_id or "") or {}
            return self.refunds.take_step(payment, step, now)
        if step == "payment_created":
            payment_id = str(uuid4())
        self._apply(link_id, payment_id, step, now)
        metadata = link["payment_configuration"].get("metadata") or {}
        self.state.enqueue(sim.json_callback(links.event(link_id, payment_id, step, now, metadata)))

    def payment_of(self, link: Doc) -> sim.PaidPayment:
        money = link["payment_configuration"]
        payment_id = self._payments_of(link["id"])[-1]
        return sim.PaidPayment(payment_id, None, money["amount_in_minor"], money["currency"])

    def _apply(self, link_id: str, payment_id: str | None, step: str, now: int) -> None:
        link = self.state.get("link", link_id) or {}
        self.state.put("link", link_id, link | {"status": links.STEPS[step]})
        if payment_id is None:
            return
        payment = self.state.get("payment", payment_id) or links.new_payment(payment_id, link, now)
        self.state.put("payment", payment_id, links.after_step(payment, step, now))
        others = [other for other in self._payments_of(link_id) if other != payment_id]
        self.state.put("attempts", link_id, {"ids": [*others, payment_id]})

    def _payments_of(self, link_id: str) -> list[str]:
        return list((self.state.get("attempts", link_id) or {"ids": []})["ids"])

    def _start(self, link: Doc) -> None:
        self.state.put("link", link["id"], link)
        self.state.set_timer(link["id"], sim.micros(link["expires_at"]))

    def on_timer(self, key: str, now: int) -> None:
        """Expire the link, unless a payment is in progress or done."""
        link = self.state.get("link", key)
        if link is not None and link["status"] == "enabled":
            self.take_step(link, "expired", now)

    @staticmethod
    def signed_url(config: TrueLayerConfig) -> str | None:
        return config.webhook_url

    @staticmethod
    def sign(site: sim.Site, callback: Callback, url: str, now: int) -> dict[str, str]:
        headers = {"X-Tl-Webhook-Timestamp": rfc3339(now, "seconds")}
        headers["Content-Type"] = callback.content_type
        signer = sign_with_pem(site.secrets["kid"], site.secrets["private_key"])
        signer.set_jku(f"{site.api_url}/.well-known/jwks")
        signer.set_method(HttpMethod.POST).set_path(urlsplit(url).path)
        signer.add_headers(headers).set_body(callback.body.decode())
        return headers | {"Tl-Signature": signer.sign()}

    def respond(self, request: ApiRequest, now: int) -> ApiResponse:
        call = sim.ParsedRequest.of(request)
        match (call.method, *call.parts):
            case ("GET", ".well-known", "jwks"):
                return json_response(200, {"keys": [links.public_jwk(self.site.secrets)]})
            case ("POST", "connect", "token"):
                return self._token(call.body or dict(parse_qsl(request.body.decode())), now)
        if not self.has_token(call.headers, now):
            return _error(401, "Unauthenticated")
        match (call.method, *call.parts):
            case ("POST", "v3", "payment-links"):
                return self._create(call, now)
            case ("GET", "v3", "payment-links", link_id, *rest) if rest in ([], ["payments"]):
                return self._link(link_id, bool(rest))
            case ("GET", "v3", "merchant-accounts", *path):
                return accounts.respond(self.state, path, call.query, self.CURRENCY)
            case (_, "v3", "payments", payment_id, *rest):
                payment = self.state.get("payment", payment_id)
                return self._payment(payment, call, rest, now) if payment else _not_found()
            case ("GET", "v3", "payouts", payout_id):
                payout = self.refunds.payout(payout_id)
                return json_response(200, payout) if payout else _not_found()
        return _not_found()

    def _payment(
        self, payment: Doc, call: sim.ParsedRequest, rest: list[str], now: int
    ) -> ApiResponse:
        match (call.method, *rest):
            case ("GET",):
                return json_response(200, payment)
            case ("GET", "refunds"):
                return self.refunds.shown(payment["id"])
            case ("POST", "refunds"):
                return self.refunds.request(payment, call.body, now)
        return _not_found()

    def _link(self, link_id: str, payments: bool) -> ApiResponse:
        link = self.state.get("link", link_id)
        if link is None:
            return _not_found()
        if not payments:
            return json_response(200, link)
        items = [self.state.get("payment", payment_id) for payment_id in self._payments_of(link_id)]
        return json_response(200, {"items": items, "pagination": {}})

    def _token(self, body: Doc, now: int) -> ApiResponse:
        credentials = (body.get("client_id"), body.get("client_secret"))
        if credentials != (self.site.secrets["client_id"], self.site.secrets["client_secret"]):
            return json_response(400, {"error": "invalid_client"})
        token = {"access_token": self.issue_token(3600, now), "scope": "payments"}
        return json_response(200, token | {"expires_in": 3600, "token_type": "Bearer"})

    def _create(self, call: sim.ParsedRequest, now: int) -> ApiResponse:
        """The same Idempotency-Key returns the same link. The signature is not checked."""
        key = call.headers.get("idempotency-key")
        if not key or "tl-signature" not in call.headers:
            return _error(401 if key else 400, "Tl-Signature and Idempotency-Key are required")
        created = self.state.get("idempotency", key)
        payment = call.body.get("payment_configuration") or {}
        if not isinstance(payment.get("amount_in_minor"), int) or "currency" not in payment:
            return _error(400, "payment_configuration is incomplete")
        if created is None:
            link_id = self.new_id(SystemRandom())
            amount, currency = payment["amount_in_minor"], payment["currency"]
            self._start(links.new(link_id, amount, currency, call.body, now))
            created = {"id": link_id, "uri": f"https://payment.truelayer.com/links/{link_id}"}
            self.state.put("idempotency", key, created)
        return json_response(201, created)


def _not_found() -> ApiResponse:
    return _error(404, "Not found")


def _error(status: int, title: str) -> ApiResponse:
    return json_response(status, {"type": "about:blank", "title": title, "status": status})
