"""TrueLayer, simulated: payment links, payments, the key set, and events signed ES512.

Payment events carry no link id. A failed attempt leaves its link enabled; `disabled` comes with the
reason fulfilled or expired. Refunds, payouts and mandates come to the same URI. Deliveries are
repeated with jitter for up to 72 hours. How links, payments and events look is in `link_sandbox`.
"""

from random import Random, SystemRandom
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from truelayer_signing import HttpMethod, sign_with_pem

from connectors.provider import ApiRequest, ApiResponse
from connectors.sandbox import simulator as sim
from connectors.sandbox.simulator import Callback, Doc, Life, answered, rfc3339
from connectors.truelayer import link_sandbox as links

PAID = ("executed", "settled", "creditable", "fulfilled")
SEED_LINK = "aKiW35RWSyF"
SEED_PAYMENT = "60c0a60ed8d7-4e5b-ac79-401b1d8a8633"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class Sandbox(sim.Simulator):
    name = "truelayer"
    RETRY_SECONDS = (5.0, 15.0, 60.0, 300.0, 900.0, *[3600.0] * 71)
    JITTER = 0.5
    LIVES: ClassVar = {
        "paid": Life(("payment_created", *PAID), ("PAID",), "PAID"),
        "paid at the second attempt": Life(
            ("payment_created", "failed", "payment_created", *PAID), ("PAID",), "PAID"
        ),
        "paid, the money late": Life(
            ("payment_created", "authorized", "executed", "settlement_stalled", *PAID[1:]),
            ("PAID",),
            "PAID",
        ),
        "paid, then refunded, among other business": Life(
            ("payment_created", *PAID, *links.ASIDES), ("PAID",), "PAID"
        ),
        "failed": Life(("payment_created", "failed"), ("PROCESSING",)),
        "failed, then expired": Life(("payment_created", "failed", "expired"), ("EXPIRED",)),
        "reversed": Life(
            ("payment_created", "executed", "failed"),
            ("PROCESSING",),
            anomalies=("PAYMENT_REVERSED",),
        ),
        "expired": Life(("expired",), ("EXPIRED",)),
        "left open": Life((), ("CREATED",), heard=False),
    }
    CURRENCY = "GBP"

    @staticmethod
    def generate_secrets() -> dict[str, str]:
        ids = {name: uuid4().hex for name in ("client_id", "client_secret", "kid")}
        return ids | {"private_key": links.private_pem()}

    @staticmethod
    def environment(site: sim.Site) -> dict[str, str]:
        return {
            "JKU": f"{site.base_url}/truelayer/.well-known/jwks",
            "API_URL": f"{site.base_url}/truelayer",
            "AUTH_URL": f"{site.base_url}/truelayer-auth",
            "CLIENT_ID": site.secrets["client_id"],
            "CLIENT_SECRET": site.secrets["client_secret"],
        }

    @staticmethod
    def new_id(chance: Random) -> str:
        return "".join(chance.choices(_ALPHABET, k=11))

    def seed(self, word: str, now: int) -> None:
        if self.state.get("link", SEED_LINK) is None:
            self._start(links.new(SEED_LINK, 14000, "GBP", {}, now))
            self._become(SEED_LINK, SEED_PAYMENT, "payment_created", now)
            word = word or "settled"
        step = word.removeprefix("disabled_")
        if step not in links.STEPS:
            step = step.removeprefix("payment_")
        if step in links.STEPS:
            # A link that has expired was not paid.
            paid = {"fulfilled": "settled", "expired": "failed"}.get(step, step)
            self._become(SEED_LINK, SEED_PAYMENT, paid, now)
            self._become(SEED_LINK, None, step, now)

    def create(self, link: sim.NewLink, now: int) -> None:
        self._start(links.new(link.link_id, link.amount_minor, link.currency, {}, now))

    def move(self, link_id: str, word: str, now: int) -> None:
        link = self.state.get("link", link_id)
        if link is None or word not in (*links.STEPS, *links.ASIDES):
            raise KeyError(f"{link_id} {word}")
        payment_id = next(reversed(self._payments_of(link_id)), None)
        if word in links.ASIDES:
            self.state.owe(sim.said(links.aside(payment_id, word, now)))
            return
        if word == "payment_created":
            payment_id = str(uuid4())
        self._become(link_id, payment_id, word, now)
        metadata = link["payment_configuration"].get("metadata") or {}
        self.state.owe(sim.said(links.event(link_id, payment_id, word, now, metadata)))

    def _become(self, link_id: str, payment_id: str | None, word: str, now: int) -> None:
        link = self.state.get("link", link_id) or {}
        self.state.put("link", link_id, link | {"status": links.STEPS[word]})
        if payment_id is None:
            return
        payment = self.state.get("payment", payment_id) or links.new_payment(payment_id, link, now)
        self.state.put("payment", payment_id, links.changed(payment, word, now))
        others = [known for known in self._payments_of(link_id) if known != payment_id]
        self.state.put("attempts", link_id, {"ids": [*others, payment_id]})

    def _payments_of(self, link_id: str) -> list[str]:
        return list((self.state.get("attempts", link_id) or {"ids": []})["ids"])

    def _start(self, link: Doc) -> None:
        self.state.put("link", link["id"], link)
        self.state.wake(link["id"], sim.micros(link["expires_at"]))

    def woken(self, key: str, now: int) -> None:
        """The link's time is over: it expires unless a payment is under way or done."""
        link = self.state.get("link", key)
        if link is not None and link["status"] == "enabled":
            self.move(key, "expired", now)

    @staticmethod
    def sign(site: sim.Site, callback: Callback, url: str, now: int) -> dict[str, str]:
        stamp = {"X-Tl-Webhook-Timestamp": rfc3339(now, "seconds")}
        stamp["Content-Type"] = callback.content_type
        signer = sign_with_pem(site.secrets["kid"], site.secrets["private_key"])
        signer.set_jku(f"{site.base_url}/truelayer/.well-known/jwks")
        signer.set_method(HttpMethod.POST).set_path(urlsplit(url).path)
        signer.add_headers(stamp).set_body(callback.body.decode())
        return stamp | {"Tl-Signature": signer.sign()}

    def answer(self, request: ApiRequest, now: int) -> ApiResponse:
        call = sim.Called.of(request)
        match (call.method, *call.parts):
            case ("GET", ".well-known", "jwks"):
                return answered(200, {"keys": [links.public_jwk(self.site.secrets)]})
            case ("POST", "connect", "token"):
                return self._token(call.body or dict(parse_qsl(request.body.decode())), now)
        if not self.has_token(call.headers, now):
            return _error(401, "Unauthenticated")
        match (call.method, *call.parts):
            case ("POST", "v3", "payment-links"):
                return self._create(call, now)
            case ("GET", "v3", "payment-links", link_id, *rest) if rest in ([], ["payments"]):
                return self._link(link_id, bool(rest))
            case ("GET", "v3", "payments", payment_id):
                payment = self.state.get("payment", payment_id)
                return answered(200, payment) if payment else _error(404, "Not found")
        return _error(404, "Not found")

    def _link(self, link_id: str, payments: bool) -> ApiResponse:
        link = self.state.get("link", link_id)
        if link is None:
            return _error(404, "Not found")
        if not payments:
            return answered(200, link)
        items = [self.state.get("payment", payment_id) for payment_id in self._payments_of(link_id)]
        return answered(200, {"items": items, "pagination": {}})

    def _token(self, body: Doc, now: int) -> ApiResponse:
        sent = (body.get("client_id"), body.get("client_secret"))
        if sent != (self.site.secrets["client_id"], self.site.secrets["client_secret"]):
            return answered(400, {"error": "invalid_client"})
        token = {"access_token": self.issue_token(3600, now), "scope": "payments"}
        return answered(200, token | {"expires_in": 3600, "token_type": "Bearer"})

    def _create(self, call: sim.Called, now: int) -> ApiResponse:
        """The same Idempotency-Key gives the same link. The request's signature is not judged."""
        again = call.headers.get("idempotency-key")
        if not again or "tl-signature" not in call.headers:
            return _error(401 if again else 400, "Tl-Signature and Idempotency-Key are required")
        known = self.state.get("idempotency", again)
        payment = call.body.get("payment_configuration") or {}
        if not isinstance(payment.get("amount_in_minor"), int) or "currency" not in payment:
            return _error(400, "payment_configuration is incomplete")
        if known is None:
            link_id = self.new_id(SystemRandom())
            amount, currency = payment["amount_in_minor"], payment["currency"]
            self._start(links.new(link_id, amount, currency, call.body, now))
            known = {"id": link_id, "uri": f"https://payment.truelayer.com/links/{link_id}"}
            self.state.put("idempotency", again, known)
        return answered(201, known)


def _error(status: int, title: str) -> ApiResponse:
    return answered(status, {"type": "about:blank", "title": title, "status": status})
