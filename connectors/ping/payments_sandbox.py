"""Ping's Payments API, simulated: orders and their payments.

An order goes OPEN → CLOSED → SPLIT → SETTLED by PUT. Each step is idempotent (204 again), and 403
out of order or while a payment of the order is under way; `fast_forward` takes the steps skipped.
Each operation is written to a log, so that tests can count them.
"""

from urllib.parse import parse_qs
from uuid import uuid4

from connectors.provider import ApiResponse
from connectors.sandbox.simulator import Called, Doc, Site, State, answered, rfc3339

STATES = ("OPEN", "CLOSED", "SPLIT", "SETTLED")
OPERATIONS = {"close": 1, "split": 2, "settle": 3}
# The guide says DENIED where the SDKs say DECLINED.
TERMINATED = ("COMPLETED", "DECLINED", "DENIED", "ABORTED", "STOPPED")


class Payments:
    def __init__(self, site: Site, state: State) -> None:
        self.site = site
        self.state = state

    def open(self, order_id: str, currency: str, now: int) -> None:
        """An order comes to be, if it is not there yet."""
        if self.state.get("order", order_id) is not None:
            return
        about = {"id": order_id, "tenant_id": self.site.secrets["tenant_id"], "currency": currency}
        order = about | {"status": "OPEN", "created_at": rfc3339(now), "payments": []}
        self.state.put("order", order_id, order)

    def attempt(self, link: Doc, payment_id: str, status: str) -> None:
        """A payment of the link's order has reached `status`."""
        order = self.state.get("order", link["payment_order_id"])
        if order is None:
            return
        others = [payment for payment in order["payments"] if payment["id"] != payment_id]
        if status == "ABORTED" and len(others) == len(order["payments"]):
            return  # there was no attempt to abort
        payment = {"id": payment_id, "status": status, "method": "card"}
        money = {"currency": order["currency"], "total_amount": link["total_amount"]}
        order["payments"] = [*others, payment | money]
        self.state.put("order", order["id"], order)

    def answer(self, call: Called, now: int) -> ApiResponse:
        match (call.method, *call.parts[3:]):
            case ("POST", "payment_orders"):
                return self._create(call.body, now)
            case ("GET", "payment_orders"):
                return paged(self.state.all("order"), call.query)
            case ("GET", "allocations"):
                return paged(self._allocations(), call.query)
            case ("GET", "payment_orders", order_id):
                return found(self.state.get("order", order_id), nested=True)
            case ("GET", "payment_orders", order_id, "payments", payment_id):
                order = self.state.get("order", order_id) or {"payments": []}
                payments = {payment["id"]: payment for payment in order["payments"]}
                return found(payments.get(payment_id), nested=True)
            case ("PUT", "payment_orders", order_id, "payments", payment_id, "stop"):
                return self._stop(order_id, payment_id)
            case ("PUT", "payment_orders", order_id, ("close" | "split" | "settle") as operation):
                return self._operate(order_id, operation, call.body, now)
        return failed(404, "not_found", nested=True)

    def _create(self, body: Doc, now: int) -> ApiResponse:
        if not isinstance(body.get("currency"), str):
            return failed(422, "currency_is_required", nested=True)
        order_id = str(uuid4())
        self.open(order_id, body["currency"], now)
        return answered(200, {"id": order_id})

    def _stop(self, order_id: str, payment_id: str) -> ApiResponse:
        """Ends a payment that is under way, so that its order can be closed."""
        order = self.state.get("order", order_id) or {"payments": []}
        for payment in order["payments"]:
            if payment["id"] == payment_id:
                if payment["status"] not in TERMINATED:
                    payment["status"] = "STOPPED"
                    self.state.put("order", order_id, order)
                return answered(204)
        return failed(404, "not_found", nested=True)

    def _allocations(self) -> list[Doc]:
        """Whom the money of split orders is for: here all of it to the merchant."""
        return [
            {
                "payment_order_id": order["id"],
                "payment_id": payment["id"],
                "amount": payment["total_amount"],
                "currency": payment["currency"],
                "settled_at": order.get("settled_at"),
                "disbursed_at": None,
                "recipient_type": "merchant",
            }
            for order in self.state.all("order")
            for payment in order["payments"]
            if payment["status"] == "COMPLETED" and "split_at" in order
        ]

    def _operate(self, order_id: str, operation: str, body: Doc, now: int) -> ApiResponse:
        order = self.state.get("order", order_id)
        if order is None:
            return failed(404, "not_found", nested=True)
        reached, wanted = STATES.index(order["status"]), OPERATIONS[operation]
        allowed = reached >= wanted or _may(order, wanted, body.get("fast_forward") is True)
        if allowed and reached < wanted:
            taken = STATES[reached + 1 : wanted + 1]
            order |= {"status": taken[-1]} | {f"{name.lower()}_at": rfc3339(now) for name in taken}
            self.state.put("order", order_id, order)
        entry = {"at": rfc3339(now), "order_id": order_id, "operation": operation}
        outcome = {"repeated": reached >= wanted, "status": order["status"]}
        self.state.put("log", str(uuid4()), entry | outcome | {"answer": 204 if allowed else 403})
        return answered(204) if allowed else failed(403, "operation_forbidden", nested=True)


def _may(order: Doc, wanted: int, fast_forward: bool) -> bool:
    in_turn = fast_forward or STATES.index(order["status"]) == wanted - 1
    return in_turn and all(payment["status"] in TERMINATED for payment in order["payments"])


def paged(docs: list[Doc], query: str) -> ApiResponse:
    """One page of those that have what the query asks for; times are not asked for here."""
    wanted = {name: values[0] for name, values in parse_qs(query).items()}
    limit = wanted.pop("limit", "100")
    kept = [
        doc for doc in docs if all(doc.get(name, text) == text for name, text in wanted.items())
    ]
    page = kept[: int(limit)] if limit.isdecimal() else kept
    return answered(200, {"data": page, "_links": {}})


def found(doc: Doc | None, nested: bool = False) -> ApiResponse:
    """The document, or 404."""
    return failed(404, "not_found", nested) if doc is None else answered(200, doc)


def failed(status: int, error: str, nested: bool = False) -> ApiResponse:
    """The Payment Links API answers with one flat error, the Payments API with a list of them."""
    one = {"error": error, "description": error.replace("_", " "), "property": None}
    return answered(status, {"errors": [one]} if nested else one)
