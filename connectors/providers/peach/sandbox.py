"""The simulated Peach Payments: OAuth, the Payment Links API, and signed webhooks.

Webhooks carry the four HMAC headers and repeat on the documented schedule until the answer is
exactly 200. Webhooks of a batch, and the configuration probe, are unsigned. `link_sandbox` contains
links and their Checkout, `batch_sandbox` contains batches.
"""

import hmac
from decimal import Decimal
from typing import ClassVar
from uuid import uuid4

from connectors.providers import simulator as sim
from connectors.providers.base import ApiRequest, ApiResponse
from connectors.providers.peach import PeachConfig
from connectors.providers.peach import batch_sandbox as batches
from connectors.providers.peach import link_sandbox as links
from connectors.providers.peach import recon_sandbox as recon
from connectors.providers.simulator import DAY, SECOND, Callback, Doc, Lifecycle, json_response
from schemas.money import major_units, minor_units

STATUSES = ("opened", "processing", "completed", "cancelled", "expired")
PAID = ("opened", "processing", "completed")
AUTHORISED = ("opened", "processing", "authorised")
UNPAID = ("initiated", "opened", "processing")
CREDENTIALS = dict(clientId="client_id", clientSecret="client_secret", merchantId="merchant_id")
TOKEN_SECONDS = 14_400
# Bodies with these fields are unsigned: batch events and the configuration probe.
UNSIGNED = (b'"batchId"', b'"verificationCode"')
EXAMPLE_REGISTRATION = "8ac7a4a188e7cf090188f7112dbe389a"


class Sandbox(sim.Simulator):
    kind = "peach"
    # 2, 4, 8, 15, 30 min, 1 h, then daily until 30 days after the first attempt.
    RETRY_SECONDS = (120.0, 240.0, 480.0, 900.0, 1800.0, 3600.0, *[float(DAY)] * 29)
    JITTER = 0.0
    ACKNOWLEDGED = range(200, 201)
    LIFECYCLES: ClassVar = {
        "paid": Lifecycle(PAID, ("PAID",), "PAID"),
        "uncertain, then paid": Lifecycle(
            ("opened", "processing", "uncertain", "completed"), ("PAID",), "PAID"
        ),
        "paid, then refunded": Lifecycle((*PAID, "refunded"), ("PAID",), "PAID", refunded_halves=2),
        "paid, then refunded in part": Lifecycle(
            (*PAID, "refunded_in_part"), ("PAID",), "PAID", refunded_halves=1
        ),
        "paid, the refund rejected": Lifecycle(
            (*PAID, "refund_rejected"), ("PAID",), "PAID", ("REFUND_FAILED",)
        ),
        "paid, then charged back": Lifecycle(
            (*PAID, "charged_back"), ("PAID",), "PAID", ("DISPUTED",), refunded_halves=2
        ),
        "authorised only": Lifecycle(AUTHORISED, ("PROCESSING",)),
        "authorised, then captured": Lifecycle((*AUTHORISED, "captured"), ("PAID",), "PAID"),
        "expired": Lifecycle(("opened", "expired"), ("EXPIRED",)),
        "cancelled": Lifecycle(("cancelled",), ("CANCELLED",)),
        "paid after expiry": Lifecycle(
            ("opened", "processing", "expired", "completed"), ("PAID",), "PAID", ("PAID_AFTER_END",)
        ),
        "left open": Lifecycle(("opened",), ("OPENED",)),
        "left processing": Lifecycle(("opened", "processing"), ("PROCESSING",)),
    }
    CURRENCY = "ZAR"
    STEPS = (*STATUSES, "authorised", *links.CHECKOUT_ONLY)
    EXAMPLE_LINK = "00d886d6-4754-4bcc-b88f-74a53d5220e5"

    @staticmethod
    def generate_secrets() -> dict[str, str]:
        names = ("client_secret", "webhook_secret", "checkout_secret", "client_id", "merchant_id")
        return {name: uuid4().hex for name in names}

    @staticmethod
    def environment(site: sim.Site) -> dict[str, str]:
        return {
            "LINKS_URL": site.api_url,
            "AUTH_URL": site.auth_url,
            "RECON_URL": site.api_url,
            "CLIENT_ID": site.secrets["client_id"],
            "CLIENT_SECRET": site.secrets["client_secret"],
            "MERCHANT_ID": site.secrets["merchant_id"],
            "WEBHOOK_SECRETS": f'["{site.secrets["webhook_secret"]}"]',
            "WEBHOOK_URL": site.callback_url,
        }

    def set_example(self, status: str, now: int) -> None:
        link = self.state.get("link", self.EXAMPLE_LINK)
        if link is None:
            card = {"paymentBrand": "VISA", "registrationId": EXAMPLE_REGISTRATION}
            link = links.new(self.EXAMPLE_LINK, "123.45", "ZAR", now) | card
            status = status if status in ("initiated", *STATUSES) else "completed"
        if status in ("initiated", *STATUSES):
            self.state.put("link", link["id"], links.with_status(link, status, now))

    def create(self, link: sim.NewLink, now: int) -> None:
        amount = str(major_units(link.amount_minor, link.currency))
        self._start(links.new(link.link_id, amount, link.currency, now))

    def take_step(self, link: Doc, step: str, now: int) -> None:
        if step == "captured":
            link = links.captured(link)
            self.state.put("link", link["id"], link)
        if step == "authorised":
            self._report(links.authorised(link), "completed", now)
        if step in STATUSES:
            self._report(link, step, now)
        if step in links.RESULTS:
            secret = self.site.secrets["checkout_secret"]
            self.state.enqueue(links.checkout_webhook(link, step, secret, now))

    def _report(self, link: Doc, status: str, now: int) -> None:
        self.state.put("link", link["id"], links.with_status(link, status, now))
        event = {"status": status, "paymentId": link["id"]}
        event |= links.payment_fields(link) if status == "completed" else {}
        self.state.enqueue(sim.json_callback(event, link["notificationUrl"]))

    def payment_of(self, link: Doc) -> sim.PaidPayment:
        amount = minor_units(link["amount"], link["currency"])
        return sim.PaidPayment(link["transactionId"], None, amount, link["currency"])

    def on_timer(self, key: str, now: int) -> None:
        """Expire a link, or a batch whose file was not uploaded in time."""
        batch = self.state.get("batch", key)
        if batch is not None and batch["status"] == "initiated":
            self._set_batch_status(batch, "expired")
        link = self.state.get("link", key)
        if link is not None and link["status"] in UNPAID:
            self.take_step(link, "expired", now)

    @staticmethod
    def signing_secrets(config: PeachConfig) -> dict[str, str]:
        if not config.webhook_secrets:
            return {}
        return {"webhook_secret": config.webhook_secrets[0].get_secret_value()}

    @staticmethod
    def signed_url(config: PeachConfig) -> str | None:
        return config.webhook_url

    @staticmethod
    def sign(site: sim.Site, callback: Callback, url: str, now: int) -> dict[str, str]:
        if b'"paymentId"' not in callback.body and any(n in callback.body for n in UNSIGNED):
            return {}
        timestamp = str(now // SECOND)
        message = f"{timestamp}.{callback.id}.{url}.".encode() + callback.body
        secret = site.secrets["webhook_secret"].encode()
        return {
            "x-webhook-signature-algorithm": "HMACSHA256",
            "x-webhook-timestamp": timestamp,
            "x-webhook-id": callback.id,
            "x-webhook-signature": hmac.new(secret, message, "sha256").hexdigest(),
        }

    def respond(self, request: ApiRequest, now: int) -> ApiResponse:
        call = sim.ParsedRequest.of(request)
        if (call.method, *call.parts) == ("POST", "api", "oauth", "token"):
            return self._token(call.body, now)
        if (call.method, *call.parts[:2], *call.parts[3:]) == ("PUT", "api", "batches", "file"):
            # The upload needs no token: its URL is the secret.
            return self._upload(call.parts[2], request.body, now)
        if not self.has_token(call.headers, now):
            return json_response(401, {"message": "Unauthorized"})
        match (call.method, *call.parts):
            case ("POST", "api", "channels", _, "payments"):
                return self._create(call.body, now)
            case ("POST", "api", "channels", _, "payments", "batches"):
                return self._create_batch(call.body, now)
            case ("GET", "api", "batches", batch_id):
                batch = self.state.get("batch", batch_id)
                return batches.shown(batch) if batch else _not_found("Batch")
            case ("GET", "api", "merchants", merchant_id, "transactions-recon"):
                if merchant_id != self.site.secrets["merchant_id"]:
                    return json_response(403, {"message": "Forbidden"})
                return recon.respond(self.state, call.query, now)
            case ("GET", "api", "payments"):
                return links.listed(self.state.all("link"), call.query)
            case ("GET" | "DELETE", "api", "payments", link_id):
                link = self.state.get("link", link_id)
                if link is None:
                    return _not_found("Payment")
                if call.method == "DELETE":
                    return self._cancel(link, now)
                return json_response(200, links.shown(link))
        return _not_found("Path")

    def _token(self, body: Doc, now: int) -> ApiResponse:
        if any(body.get(sent) != self.site.secrets[name] for sent, name in CREDENTIALS.items()):
            return json_response(401, {"message": "Invalid credentials"})
        token = {"access_token": self.issue_token(TOKEN_SECONDS, now)}
        return json_response(200, token | {"expires_in": TOKEN_SECONDS, "token_type": "Bearer"})

    def _create(self, body: Doc, now: int) -> ApiResponse:
        payment = body.get("payment") or {}
        if not isinstance(payment.get("amount"), Decimal | int) or not payment.get("currency"):
            message = "payment.amount and payment.currency are required"
            return json_response(400, {"message": message})
        link = links.requested(str(uuid4()), body, now)
        self._start(link)
        shown = {"id": link["id"], "url": link["url"], "queuedNotifications": False}
        return json_response(200, shown)

    def _create_batch(self, body: Doc, now: int) -> ApiResponse:
        if not body.get("filename"):
            return json_response(400, {"message": "filename is required"})
        batch = batches.new(self.site.api_url, body, now)
        self.state.set_timer(batch["id"], batch["uploadUntil"])
        self._set_batch_status(batch, "initiated")
        return json_response(200, {"id": batch["id"], "url": batch["url"]})

    def _upload(self, batch_id: str, file: bytes, now: int) -> ApiResponse:
        """Process the whole file at once and create its links."""
        batch = self.state.get("batch", batch_id)
        if batch is None or batch["status"] != "initiated":
            return json_response(403, {"message": "The batch does not expect a file"})
        self._set_batch_status(batch, "processing")
        try:
            created, batch["totalRows"] = batches.read(file, now)
        except ValueError as error:
            batch["errorCode"] = str(error)
            self._set_batch_status(batch, "error")
            return json_response(200)
        for link in created:
            self._start(link | {"notificationUrl": batch["notificationUrl"]})
        batch["successfulRows"] = len(created)
        self._set_batch_status(batch, "completed")
        return json_response(200)

    def _set_batch_status(self, batch: Doc, status: str) -> None:
        batch["status"] = status
        self.state.put("batch", batch["id"], batch)
        self.state.enqueue(batches.webhook(batch))

    def _start(self, link: Doc) -> None:
        self.state.put("link", link["id"], link)
        self.state.set_timer(link["id"], sim.micros(link["expiryTime"]))
        event = {"status": "initiated", "url": link["url"], "paymentId": link["id"]}
        self.state.enqueue(sim.json_callback(event, link["notificationUrl"]))

    def _cancel(self, link: Doc, now: int) -> ApiResponse:
        if link["status"] not in ("initiated", "opened"):
            return json_response(400, {"message": f"Payment is {link['status']}"})
        self.take_step(link, "cancelled", now)
        return json_response(200, {"id": link["id"]})


def _not_found(what: str) -> ApiResponse:
    return json_response(404, {"message": f"{what} not found"})
