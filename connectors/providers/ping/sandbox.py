"""The simulated Ping Payments: the Payment Links API and its callbacks.

Callbacks are unsigned. Ping does not document its retries, so the pauses here are a guess.
`payments_sandbox` contains the Payments API with its orders.
"""

import base64
import hmac
from typing import ClassVar
from uuid import uuid4

from connectors.providers.base import ApiRequest, ApiResponse
from connectors.providers.ping import PingConfig
from connectors.providers.ping.payments_sandbox import Payments, error_response, found_or_404
from connectors.providers.simulator import (
    Callback,
    Doc,
    Lifecycle,
    NewLink,
    PaidPayment,
    ParsedRequest,
    Simulator,
    Site,
    State,
    json_callback,
    json_response,
    rfc3339,
)

ENDS = ("COMPLETED", "EXPIRED", "CANCELLED")
REQUIRED = ("payment_order_id", "currency", "total_amount", "items")
STORED = ("total_amount", "items", "customer", "metadata", "payment_link_status_callback_url")
DISTRIBUTION = {"email": ("distributed_by_email", True), "sms": ("sms_status", "DELIVERED")}
EXAMPLE_ORDER = "a3710107-26e5-434c-8c5b-ebc19a77f372"
EXAMPLE_PAYMENT = "d43b87f9-9e28-4802-8eaa-6ee91a40ea71"


class Sandbox(Simulator):
    kind = "ping"
    RETRY_SECONDS = (30.0, 60.0, 120.0, 300.0, 900.0, *[3600.0] * 71)
    LIFECYCLES: ClassVar = {
        "paid": Lifecycle(("COMPLETED",), ("PAID",), "PAID"),
        "paid after a while": Lifecycle(("PENDING", "COMPLETED"), ("PAID",), "PAID"),
        "paid, then refunded": Lifecycle(
            ("COMPLETED", "REFUNDED"), ("PAID",), "PAID", refunded_halves=2
        ),
        "expired": Lifecycle(("EXPIRED",), ("EXPIRED",)),
        "cancelled": Lifecycle(("CANCELLED",), ("CANCELLED",)),
        "left open": Lifecycle((), ("CREATED",)),
    }
    CURRENCY = "SEK"
    # Both without a callback: PENDING is a payment attempt.
    STEPS = ("PENDING", *ENDS, "REFUNDED")
    EXAMPLE_LINK = "a25cdd3b-f95f-4861-87e4-1ca0a6be748e"

    def __init__(self, site: Site, state: State) -> None:
        super().__init__(site, state)
        self.payments = Payments(site, state)

    @staticmethod
    def generate_secrets() -> dict[str, str]:
        return {"tenant_id": str(uuid4()), "api_secret": uuid4().hex}

    @staticmethod
    def environment(site: Site) -> dict[str, str]:
        return {
            "LINKS_URL": f"{site.api_url}/payment_links/",
            "PAYMENTS_URL": f"{site.api_url}/payments/",
            "TENANT_ID": site.secrets["tenant_id"],
            "API_SECRET": site.secrets["api_secret"],
        }

    @staticmethod
    def signing_secrets(config: PingConfig) -> dict[str, str]:
        if not config.signing_keys:
            return {}
        scheme, header = config.signature_scheme or "", config.signature_header or ""
        key = config.signing_keys[0].get_secret_value()
        return {"signature_scheme": scheme, "signature_header": header, "signing_key": key}

    @staticmethod
    def sign(site: Site, callback: Callback, url: str, now: int) -> dict[str, str]:
        """Sign only if the settings name a scheme: Ping does not document its own."""
        if "signing_key" not in site.secrets:
            return {}
        _, algorithm, encoding = site.secrets["signature_scheme"].split("-")
        digest = hmac.digest(site.secrets["signing_key"].encode(), callback.body, algorithm)
        text = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
        return {site.secrets["signature_header"]: text}

    def set_example(self, status: str, now: int) -> None:
        link = self.state.get("link", self.EXAMPLE_LINK)
        new_status = status.upper() if status.upper() in ("CREATED", *ENDS) else None
        if link is None:
            self.payments.open(EXAMPLE_ORDER, "SEK", now)
            link = self._new_link(self.EXAMPLE_LINK, EXAMPLE_ORDER, {"total_amount": 14000})
            new_status = new_status or "COMPLETED"
        if new_status is not None:
            payment_id = EXAMPLE_PAYMENT if new_status == "COMPLETED" else None
            link |= {"status": new_status, "payment_id": payment_id}
            self.state.put("link", self.EXAMPLE_LINK, link)
            payment_status = "COMPLETED" if payment_id else "ABORTED"
            self.payments.set_payment(link, EXAMPLE_PAYMENT, payment_status)

    def create(self, link: NewLink, now: int) -> None:
        order_id = link.order_id or str(uuid4())
        self.payments.open(order_id, link.currency, now)
        body = {"total_amount": link.amount_minor}
        self._store_and_notify(self._new_link(link.link_id, order_id, body), now)

    def take_step(self, link: Doc, step: str, now: int) -> None:
        link_id = link["payment_link_id"]
        attempt = self.state.get("attempt", link_id) or {"payment_id": str(uuid4())}
        self.state.put("attempt", link_id, attempt)
        if step == "REFUNDED":
            return self.payments.refund(link["payment_order_id"], attempt["payment_id"], now)
        if step != "PENDING":
            payment_id = attempt["payment_id"] if step == "COMPLETED" else None
            link |= {"status": step, "payment_id": payment_id}
            self._store_and_notify(link, now)
        status = step if step in ("PENDING", "COMPLETED") else "ABORTED"
        self.payments.set_payment(link, attempt["payment_id"], status)

    def payment_of(self, link: Doc) -> PaidPayment:
        order = self.state.get("order", link["payment_order_id"]) or {}
        order_id, amount = link["payment_order_id"], link["total_amount"]
        return PaidPayment(link["payment_id"], order_id, amount, order["currency"])

    def respond(self, request: ApiRequest, now: int) -> ApiResponse:
        call = ParsedRequest.of(request)
        tenant, secret = call.headers.get("tenant_id"), call.headers.get("x-api-secret")
        is_payments_api = call.parts[:1] == ("payments",)
        if not tenant or not secret:
            return error_response(401, "unauthorized", is_payments_api)
        if (tenant, secret) != (self.site.secrets["tenant_id"], self.site.secrets["api_secret"]):
            return error_response(403, "forbidden", is_payments_api)
        return self.payments.respond(call, now) if is_payments_api else self._respond(call, now)

    def _respond(self, call: ParsedRequest, now: int) -> ApiResponse:
        match (call.method, *call.parts):
            case ("GET", "payment_links", "api", "v1", "payment_links"):
                return json_response(200, self.state.all("link"))
            case ("POST", "payment_links", "api", "v1", "payment_links"):
                return self._create(call.body, now)
            case ("GET", "payment_links", "api", "v1", "payment_links", link_id):
                return found_or_404(self.state.get("link", link_id))
            case ("PUT", "payment_links", "api", "v1", "payment_links", link_id, "cancel"):
                return self._cancel(link_id, now)
            case ("PUT", "payment_links", "api", "v1", "payment_links", link_id, "distribute"):
                methods = call.body.get("methods")
                if not isinstance(methods, list) or not set(map(str, methods)) <= {*DISTRIBUTION}:
                    return error_response(422, "methods_is_required")
                return self._update(link_id, dict(DISTRIBUTION[str(name)] for name in methods))
            case ("PUT", "payment_links", "api", "v1", "payment_links", link_id, "invoice"):
                return self._update(link_id, {"invoice_created": True})
        return error_response(404, "not_found")

    def _update(self, link_id: str, changes: Doc) -> ApiResponse:
        """Change a link without a callback."""
        link = self.state.get("link", link_id)
        if link is None:
            return error_response(404, "not_found")
        self.state.put("link", link_id, link | changes)
        return json_response(204)

    def _create(self, body: Doc, now: int) -> ApiResponse:
        missing = [name for name in REQUIRED if not body.get(name)]
        if missing:
            return error_response(422, f"{missing[0]}_is_required")
        total = sum(item["price"] * item.get("quantity", 1) for item in body["items"])
        if self.state.get("order", str(body["payment_order_id"])) is None:
            return error_response(403, "payment_order_not_found")
        if total != body["total_amount"]:
            return error_response(403, "wrong_total_amount")
        link = self._new_link(str(uuid4()), body["payment_order_id"], body)
        self._store_and_notify(link, now)
        urls = {"id": link["payment_link_id"], "checkout_url": link["checkout_url"]}
        return json_response(200, urls)

    def _cancel(self, link_id: str, now: int) -> ApiResponse:
        link = self.state.get("link", link_id)
        if link is None:
            return error_response(404, "not_found")
        if link["status"] != "CREATED":
            return error_response(403, "operation_forbidden")
        self.take_step(link, "CANCELLED", now)
        return json_response(204)

    def _store_and_notify(self, link: Doc, now: int) -> None:
        """Store a link with a new status and send the callback."""
        self.state.put("link", link["payment_link_id"], link)
        event = {"payment_link_id": link["payment_link_id"], "status": link["status"]}
        event |= {"occured_at": rfc3339(now)}
        self.state.enqueue(json_callback(event, link["payment_link_status_callback_url"]))

    def _new_link(self, link_id: str, order_id: str, body: Doc) -> Doc:
        return {name: body.get(name) for name in STORED} | {
            "payment_link_id": link_id,
            "payment_order_id": order_id,
            "payment_id": None,
            "tenant_id": self.site.secrets["tenant_id"],
            "status": "CREATED",
            "checkout_url": f"{self.site.api_url}/checkout/{link_id}",
        }
