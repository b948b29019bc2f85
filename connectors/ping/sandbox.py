"""Ping Payments, simulated: the Payment Links API and its callbacks.

Callbacks are unsigned. When Ping repeats them is not documented: the waits are a guess.
The Payments API, where orders live, is in `payments_sandbox`.
"""

import base64
import hmac
from typing import ClassVar
from uuid import uuid4

from connectors.ping import PingConfig
from connectors.ping.payments_sandbox import Payments, failed, found
from connectors.provider import ApiRequest, ApiResponse
from connectors.sandbox.simulator import (
    Callback,
    Called,
    Doc,
    Life,
    NewLink,
    Simulator,
    Site,
    State,
    answered,
    rfc3339,
    said,
)

ENDS = ("COMPLETED", "EXPIRED", "CANCELLED")
REQUIRED = ("payment_order_id", "currency", "total_amount", "items")
GIVEN = ("total_amount", "items", "customer", "metadata", "payment_link_status_callback_url")
DISTRIBUTED = {"email": ("distributed_by_email", True), "sms": ("sms_status", "DELIVERED")}
SEED_LINK = "a25cdd3b-f95f-4861-87e4-1ca0a6be748e"
SEED_ORDER = "a3710107-26e5-434c-8c5b-ebc19a77f372"
SEED_PAYMENT = "d43b87f9-9e28-4802-8eaa-6ee91a40ea71"


class Sandbox(Simulator):
    name = "ping"
    RETRY_SECONDS = (30.0, 60.0, 120.0, 300.0, 900.0, *[3600.0] * 71)
    LIVES: ClassVar = {
        "paid": Life(("COMPLETED",), ("PAID",), "PAID"),
        "paid after a while": Life(("PENDING", "COMPLETED"), ("PAID",), "PAID"),
        "expired": Life(("EXPIRED",), ("EXPIRED",)),
        "cancelled": Life(("CANCELLED",), ("CANCELLED",)),
        "left open": Life((), ("CREATED",)),
    }
    CURRENCY = "SEK"

    def __init__(self, site: Site, state: State) -> None:
        super().__init__(site, state)
        self.payments = Payments(site, state)

    @staticmethod
    def generate_secrets() -> dict[str, str]:
        return {"tenant_id": str(uuid4()), "api_secret": uuid4().hex}

    @staticmethod
    def environment(site: Site) -> dict[str, str]:
        return {
            "LINKS_URL": f"{site.base_url}/ping/payment_links/",
            "PAYMENTS_URL": f"{site.base_url}/ping/payments/",
            "TENANT_ID": site.secrets["tenant_id"],
            "API_SECRET": site.secrets["api_secret"],
        }

    @staticmethod
    def signing(config: PingConfig) -> dict[str, str]:
        if not config.signing_keys:
            return {}
        scheme, header = config.signature_scheme or "", config.signature_header or ""
        key = config.signing_keys[0].get_secret_value()
        return {"signature_scheme": scheme, "signature_header": header, "signing_key": key}

    @staticmethod
    def sign(site: Site, callback: Callback, url: str, now: int) -> dict[str, str]:
        """Unsigned, unless a scheme was set: Ping's own is not documented."""
        if "signing_key" not in site.secrets:
            return {}
        _, algorithm, encoding = site.secrets["signature_scheme"].split("-")
        digest = hmac.digest(site.secrets["signing_key"].encode(), callback.body, algorithm)
        text = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
        return {site.secrets["signature_header"]: text}

    def seed(self, word: str, now: int) -> None:
        link = self.state.get("link", SEED_LINK)
        status = word.upper() if word.upper() in ("CREATED", *ENDS) else None
        if link is None:
            self.payments.open(SEED_ORDER, "SEK", now)
            link = self._link(SEED_LINK, SEED_ORDER, {"total_amount": 14000})
            status = status or "COMPLETED"
        if status is not None:
            payment_id = SEED_PAYMENT if status == "COMPLETED" else None
            link |= {"status": status, "payment_id": payment_id}
            self.state.put("link", SEED_LINK, link)
            self.payments.attempt(link, SEED_PAYMENT, "COMPLETED" if payment_id else "ABORTED")

    def create(self, link: NewLink, now: int) -> None:
        order_id = link.order_id or str(uuid4())
        self.payments.open(order_id, link.currency, now)
        self._changed(self._link(link.link_id, order_id, {"total_amount": link.amount_minor}), now)

    def move(self, link_id: str, word: str, now: int) -> None:
        """COMPLETED, EXPIRED, CANCELLED; PENDING is an attempt to pay, which no callback tells."""
        link = self.state.get("link", link_id)
        if link is None or word not in ("PENDING", *ENDS):
            raise KeyError(f"{link_id} {word}")
        attempt = self.state.get("attempt", link_id) or {"payment_id": str(uuid4())}
        self.state.put("attempt", link_id, attempt)
        if word != "PENDING":
            payment_id = attempt["payment_id"] if word == "COMPLETED" else None
            link |= {"status": word, "payment_id": payment_id}
            self._changed(link, now)
        status = word if word in ("PENDING", "COMPLETED") else "ABORTED"
        self.payments.attempt(link, attempt["payment_id"], status)

    def answer(self, request: ApiRequest, now: int) -> ApiResponse:
        call = Called.of(request)
        tenant, secret = call.headers.get("tenant_id"), call.headers.get("x-api-secret")
        nested = call.parts[:1] == ("payments",)
        if not tenant or not secret:
            return failed(401, "unauthorized", nested)
        if (tenant, secret) != (self.site.secrets["tenant_id"], self.site.secrets["api_secret"]):
            return failed(403, "forbidden", nested)
        return self.payments.answer(call, now) if nested else self._answer(call, now)

    def _answer(self, call: Called, now: int) -> ApiResponse:
        match (call.method, *call.parts):
            case ("GET", "payment_links", "api", "v1", "payment_links"):
                return answered(200, self.state.all("link"))
            case ("POST", "payment_links", "api", "v1", "payment_links"):
                return self._create(call.body, now)
            case ("GET", "payment_links", "api", "v1", "payment_links", link_id):
                return found(self.state.get("link", link_id))
            case ("PUT", "payment_links", "api", "v1", "payment_links", link_id, "cancel"):
                return self._cancel(link_id, now)
            case ("PUT", "payment_links", "api", "v1", "payment_links", link_id, "distribute"):
                methods = call.body.get("methods")
                if (
                    not isinstance(methods, list)
                    or not set(map(str, methods)) <= DISTRIBUTED.keys()
                ):
                    return failed(422, "methods_is_required")
                return self._noted(link_id, dict(DISTRIBUTED[str(method)] for method in methods))
            case ("PUT", "payment_links", "api", "v1", "payment_links", link_id, "invoice"):
                return self._noted(link_id, {"invoice_created": True})
        return failed(404, "not_found")

    def _noted(self, link_id: str, facts: Doc) -> ApiResponse:
        """Something of the link that no callback tells."""
        link = self.state.get("link", link_id)
        if link is None:
            return failed(404, "not_found")
        self.state.put("link", link_id, link | facts)
        return answered(204)

    def _create(self, body: Doc, now: int) -> ApiResponse:
        missing = [name for name in REQUIRED if not body.get(name)]
        if missing:
            return failed(422, f"{missing[0]}_is_required")
        total = sum(item["price"] * item.get("quantity", 1) for item in body["items"])
        known = self.state.get("order", str(body["payment_order_id"])) is not None
        if not known or total != body["total_amount"]:
            return failed(403, "wrong_total_amount" if known else "payment_order_not_found")
        link = self._link(str(uuid4()), body["payment_order_id"], body)
        self._changed(link, now)
        return answered(200, {"id": link["payment_link_id"], "checkout_url": link["checkout_url"]})

    def _cancel(self, link_id: str, now: int) -> ApiResponse:
        link = self.state.get("link", link_id)
        if link is None:
            return failed(404, "not_found")
        if link["status"] != "CREATED":
            return failed(403, "operation_forbidden")
        self.move(link_id, "CANCELLED", now)
        return answered(204)

    def _changed(self, link: Doc, now: int) -> None:
        """Keeps a link whose status is new, and tells the merchant."""
        self.state.put("link", link["payment_link_id"], link)
        about = {"payment_link_id": link["payment_link_id"], "status": link["status"]}
        body = about | {"occured_at": rfc3339(now)}
        self.state.owe(said(body, link["payment_link_status_callback_url"]))

    def _link(self, link_id: str, order_id: str, body: Doc) -> Doc:
        return {name: body.get(name) for name in GIVEN} | {
            "payment_link_id": link_id,
            "payment_order_id": order_id,
            "payment_id": None,
            "tenant_id": self.site.secrets["tenant_id"],
            "status": "CREATED",
            "checkout_url": f"{self.site.base_url}/ping/checkout/{link_id}",
        }
