"""Peach Payments, simulated: OAuth, the Payment Links API, and signed webhooks.

Webhooks carry the four HMAC headers and are repeated by the documented schedule until exactly 200
comes back; those of a batch, and the probe at configuration, come unsigned. How a link and its
Checkout look is in `link_sandbox`, batches are in `batch_sandbox`.
"""

import hmac
from decimal import Decimal
from typing import ClassVar
from uuid import uuid4

from connectors.peach import PeachConfig
from connectors.peach import batch_sandbox as batches
from connectors.peach import link_sandbox as links
from connectors.provider import ApiRequest, ApiResponse
from connectors.sandbox import simulator as sim
from connectors.sandbox.simulator import DAY, SECOND, Callback, Doc, Life, answered, rfc3339
from schemas.money import major_units

WORDS = ("opened", "processing", "completed", "cancelled", "expired")
UNPAID = ("initiated", "opened", "processing")
CREDENTIALS = {
    "clientId": "client_id",
    "clientSecret": "client_secret",
    "merchantId": "merchant_id",
}
TOKEN_SECONDS = 14_400
# Bodies with these fields come unsigned: batch events, and the probe at configuration.
UNSIGNED = (b'"batchId"', b'"verificationCode"')
SEED_LINK = "00d886d6-4754-4bcc-b88f-74a53d5220e5"
SEED_REGISTRATION = "8ac7a4a188e7cf090188f7112dbe389a"


class Sandbox(sim.Simulator):
    name = "peach"
    # 2, 4, 8, 15, 30 min, 1 h, then daily until 30 days after the first attempt.
    RETRY_SECONDS = (120.0, 240.0, 480.0, 900.0, 1800.0, 3600.0, *[float(DAY)] * 29)
    JITTER = 0.0
    ACKNOWLEDGED = range(200, 201)
    LIVES: ClassVar = {
        "paid": Life(("opened", "processing", "completed"), ("PAID",), "PAID"),
        "uncertain, then paid": Life(
            ("opened", "processing", "uncertain", "completed"), ("PAID",), "PAID"
        ),
        "paid, then refunded": Life(
            ("opened", "processing", "completed", "refunded"), ("PAID",), "PAID"
        ),
        "expired": Life(("opened", "expired"), ("EXPIRED",)),
        "cancelled": Life(("cancelled",), ("CANCELLED",)),
        "paid after expiry": Life(
            ("opened", "processing", "expired", "completed"), ("PAID",), "PAID", ("PAID_AFTER_END",)
        ),
        "left open": Life(("opened",), ("OPENED",)),
        "left processing": Life(("opened", "processing"), ("PROCESSING",)),
    }
    CURRENCY = "ZAR"

    @staticmethod
    def generate_secrets() -> dict[str, str]:
        names = ("client_secret", "webhook_secret", "checkout_secret", "client_id", "merchant_id")
        return {name: uuid4().hex for name in names}

    @staticmethod
    def environment(site: sim.Site) -> dict[str, str]:
        return {
            "LINKS_URL": f"{site.base_url}/peach",
            "AUTH_URL": f"{site.base_url}/peach-auth",
            "CLIENT_ID": site.secrets["client_id"],
            "CLIENT_SECRET": site.secrets["client_secret"],
            "MERCHANT_ID": site.secrets["merchant_id"],
            "WEBHOOK_SECRETS": f'["{site.secrets["webhook_secret"]}"]',
            "WEBHOOK_URL": site.callback_url,
        }

    def seed(self, word: str, now: int) -> None:
        link = self.state.get("link", SEED_LINK)
        if link is None:
            seen = {"paymentBrand": "VISA", "registrationId": SEED_REGISTRATION}
            link = links.new(SEED_LINK, "123.45", "ZAR", now) | seen
            word = word if word in ("initiated", *WORDS) else "completed"
        if word in ("initiated", *WORDS):
            self._become(link, word, now)

    def create(self, link: sim.NewLink, now: int) -> None:
        amount = str(major_units(link.amount_minor, link.currency))
        self._start(links.new(link.link_id, amount, link.currency, now))

    def move(self, link_id: str, word: str, now: int) -> None:
        link = self.state.get("link", link_id)
        if link is None or word not in (*WORDS, *links.ONLY_CHECKOUT):
            raise KeyError(f"{link_id} {word}")
        if word in WORDS:
            self._become(link, word, now)
            about = {"status": word, "paymentId": link_id}
            about |= links.paid_with(link) if word == "completed" else {}
            self.state.owe(sim.said(about, link["notificationUrl"]))
        if word in links.RESULTS:
            secret = self.site.secrets["checkout_secret"]
            self.state.owe(links.checkout_webhook(link, word, secret, now))

    def woken(self, key: str, now: int) -> None:
        """The link's lifetime is over, or the time to upload the batch's file."""
        batch = self.state.get("batch", key)
        if batch is not None and batch["status"] == "initiated":
            self._batch_becomes(batch, "expired")
        link = self.state.get("link", key)
        if link is not None and link["status"] in UNPAID:
            self.move(key, "expired", now)

    @staticmethod
    def signing(config: PeachConfig) -> dict[str, str]:
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

    def answer(self, request: ApiRequest, now: int) -> ApiResponse:
        call = sim.Called.of(request)
        if (call.method, *call.parts) == ("POST", "api", "oauth", "token"):
            return self._token(call.body, now)
        if (call.method, *call.parts[:2], *call.parts[3:]) == ("PUT", "api", "batches", "file"):
            return self._upload(call.parts[2], request.body, now)  # whoever has the url may
        if not self.has_token(call.headers, now):
            return answered(401, {"message": "Unauthorized"})
        match (call.method, *call.parts):
            case ("POST", "api", "channels", _, "payments"):
                return self._create(call.body, now)
            case ("POST", "api", "channels", _, "payments", "batches"):
                return self._create_batch(call.body, now)
            case ("GET", "api", "batches", batch_id):
                batch = self.state.get("batch", batch_id)
                return batches.shown(batch) if batch else answered(404, {"message": "No batch"})
            case ("GET" | "DELETE", "api", "payments", link_id):
                link = self.state.get("link", link_id)
                if link is None:
                    return answered(404, {"message": "Payment not found"})
                if call.method == "DELETE":
                    return self._cancel(link, now)
                return answered(200, links.shown(link))
        return answered(404, {"message": "Not found"})

    def _token(self, body: Doc, now: int) -> ApiResponse:
        if any(body.get(sent) != self.site.secrets[kept] for sent, kept in CREDENTIALS.items()):
            return answered(401, {"message": "Invalid credentials"})
        token = {"access_token": self.issue_token(TOKEN_SECONDS, now)}
        return answered(200, token | {"expires_in": TOKEN_SECONDS, "token_type": "Bearer"})

    def _create(self, body: Doc, now: int) -> ApiResponse:
        payment, options = body.get("payment") or {}, body.get("options") or {}
        if not isinstance(payment.get("amount"), Decimal | int) or not payment.get("currency"):
            return answered(400, {"message": "payment.amount and payment.currency are required"})
        link = links.new(str(uuid4()), str(payment["amount"]), payment["currency"], now)
        link["merchantInvoiceId"] = payment.get("merchantInvoiceId")
        link["notificationUrl"] = options.get("notificationUrl")
        minutes = int(options.get("expiryTime", 30 * 24 * 60))
        link["expiryTime"] = rfc3339(now + minutes * 60 * SECOND)
        if (body.get("checkout") or {}).get("tokeniseCard") is True:
            link = links.tokenised(link)
        self._start(link)
        return answered(200, {"id": link["id"], "url": link["url"], "queuedNotifications": False})

    def _create_batch(self, body: Doc, now: int) -> ApiResponse:
        if not body.get("filename"):
            return answered(400, {"message": "filename is required"})
        batch = batches.new(self.site.base_url, body, now)
        self.state.wake(batch["id"], batch["uploadUntil"])
        self._batch_becomes(batch, "initiated")
        return answered(200, {"id": batch["id"], "url": batch["url"]})

    def _upload(self, batch_id: str, file: bytes, now: int) -> ApiResponse:
        """Works the file through at once; its links live on by themselves."""
        batch = self.state.get("batch", batch_id)
        if batch is None or batch["status"] != "initiated":
            return answered(403, {"message": "not expected"})
        self._batch_becomes(batch, "processing")
        try:
            made, batch["totalRows"] = batches.read(file, now)
        except ValueError as error:
            batch["errorCode"] = str(error)
            self._batch_becomes(batch, "error")
            return answered(200)
        for link in made:
            link["notificationUrl"] = batch["notificationUrl"]
            self._start(link)
        batch["successfulRows"] = len(made)
        self._batch_becomes(batch, "completed")
        return answered(200)

    def _batch_becomes(self, batch: Doc, status: str) -> None:
        batch["status"] = status
        self.state.put("batch", batch["id"], batch)
        self.state.owe(batches.webhook(batch))

    def _start(self, link: Doc) -> None:
        self.state.put("link", link["id"], link)
        self.state.wake(link["id"], sim.micros(link["expiryTime"]))
        about = {"status": "initiated", "url": link["url"], "paymentId": link["id"]}
        self.state.owe(sim.said(about, link["notificationUrl"]))

    def _cancel(self, link: Doc, now: int) -> ApiResponse:
        if link["status"] not in ("initiated", "opened"):
            return answered(400, {"message": f"Payment is {link['status']}"})
        self.move(link["id"], "cancelled", now)
        return answered(200, {"id": link["id"]})

    def _become(self, link: Doc, word: str, now: int) -> None:
        step = {"oldStatus": link["status"], "newStatus": word, "timestamp": rfc3339(now)}
        link |= {"status": word, "updatedAt": rfc3339(now), "audit": [*link["audit"], step]}
        self.state.put("link", link["id"], link)
