"""The simulated Payments API of Ping: orders and their payments.

PUT moves an order OPEN → CLOSED → SPLIT → SETTLED. Each step is idempotent (204 again). It answers
403 out of order, or while a payment of the order is in progress. `fast_forward` includes the
skipped steps. A log records each operation, so that tests can count them.
"""

from urllib.parse import parse_qs, urlencode
from uuid import uuid4

from connectors.providers.base import ApiResponse
from connectors.providers.payout_sandbox import payouts
from connectors.providers.simulator import (
    Doc,
    ParsedRequest,
    Site,
    State,
    json_response,
    micros,
    rfc3339,
)

STATES = ("OPEN", "CLOSED", "SPLIT", "SETTLED")
# The parameters of a period, and their defaults.
_ALL = (("from", 0), ("to", 1 << 62))
_CREATED = (("created_at_from", 0), ("created_at_to", 1 << 62))
_PAGING = (("limit", 100), ("offset", 0))
OPERATIONS = {"close": 1, "split": 2, "settle": 3}
# The guide writes DENIED, the SDKs write DECLINED.
TERMINATED = ("COMPLETED", "DECLINED", "DENIED", "ABORTED", "STOPPED")


class Payments:
    def __init__(self, site: Site, state: State) -> None:
        self.site = site
        self.state = state

    def open(self, order_id: str, currency: str, now: int) -> None:
        """Create an order if it does not exist."""
        if self.state.get("order", order_id) is not None:
            return
        order = {
            "id": order_id,
            "tenant_id": self.site.secrets["tenant_id"],
            "currency": currency,
            "status": "OPEN",
            "created_at": rfc3339(now),
            "payments": [],
        }
        self.state.put("order", order_id, order)

    def set_payment(self, link: Doc, payment_id: str, status: str) -> None:
        order = self.state.get("order", link["payment_order_id"])
        if order is None:
            return
        others = [payment for payment in order["payments"] if payment["id"] != payment_id]
        if status == "ABORTED" and len(others) == len(order["payments"]):
            return  # There is no payment to abort.
        payment = {"id": payment_id, "status": status, "method": "card"}
        money = {"currency": order["currency"], "total_amount": link["total_amount"]}
        order["payments"] = [*others, payment | money]
        self.state.put("order", order["id"], order)

    def refund(self, order_id: str, payment_id: str, now: int) -> None:
        """Give the whole payment back. Ping sends no callback about it."""
        order = self.state.get("order", order_id) or {"payments": []}
        for payment in order["payments"]:
            if payment["id"] == payment_id:
                refund = {"amount": payment["total_amount"], "refunded_at": rfc3339(now)}
                payment |= {"refund": refund, "refunds": [refund]}
                self.state.put("order", order_id, order)

    def respond(self, call: ParsedRequest, now: int) -> ApiResponse:
        match (call.method, *call.parts[3:]):
            case ("POST", "payment_orders"):
                return self._create(call.body, now)
            case ("GET", "payment_orders"):
                return _page(self.state.all("order"), "payment_orders", call.query)
            case ("GET", "allocations"):
                return _page(self._allocations(), "allocations", call.query)
            case ("GET", "disbursements"):
                return self._disbursements(call.query)
            case ("GET", "payment_orders", order_id):
                return found_or_404(self.state.get("order", order_id), as_list=True)
            case ("GET", "payment_orders", order_id, "payments", payment_id):
                order = self.state.get("order", order_id) or {"payments": []}
                payments = {payment["id"]: payment for payment in order["payments"]}
                return found_or_404(payments.get(payment_id), as_list=True)
            case ("POST", "payment_orders", order_id, "payments", payment_id, "refund"):
                return self._refund(order_id, payment_id, call.body, now)
            case ("PUT", "payment_orders", order_id, "payments", payment_id, "stop"):
                return self._stop(order_id, payment_id)
            case ("PUT", "payment_orders", order_id, ("close" | "split" | "settle") as operation):
                return self._operate(order_id, operation, call.body, now)
        return error_response(404, "not_found", as_list=True)

    def _create(self, body: Doc, now: int) -> ApiResponse:
        if not isinstance(body.get("currency"), str):
            return error_response(422, "currency_is_required", as_list=True)
        order_id = str(uuid4())
        self.open(order_id, body["currency"], now)
        return json_response(200, {"id": order_id})

    def _stop(self, order_id: str, payment_id: str) -> ApiResponse:
        """End a payment in progress, so that its order can be closed."""
        order = self.state.get("order", order_id) or {"payments": []}
        for payment in order["payments"]:
            if payment["id"] == payment_id:
                if payment["status"] not in TERMINATED:
                    payment["status"] = "STOPPED"
                    self.state.put("order", order_id, order)
                return json_response(204)
        return error_response(404, "not_found", as_list=True)

    def _refund(self, order_id: str, payment_id: str, body: Doc, now: int) -> ApiResponse:
        """Give a payment back, as a whole and before the split of its order."""
        order = self.state.get("order", order_id) or {"payments": [], "status": "OPEN"}
        payment = next((p for p in order["payments"] if p["id"] == payment_id), None)
        if payment is None:
            return error_response(404, "not_found", as_list=True)
        if payment["status"] != "COMPLETED" or order["status"] not in ("OPEN", "CLOSED"):
            return error_response(403, "operation_forbidden", as_list=True)
        if body.get("amount") != payment["total_amount"]:
            return error_response(422, "amount_is_not_the_payments", as_list=True)
        self.refund(order_id, payment_id, now)
        answer = {"amount": body["amount"], "currency": payment["currency"], "status": "COMPLETED"}
        return json_response(200, answer)

    def _allocations(self) -> list[Doc]:
        """Return who receives the money of split orders: here always the merchant."""
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

    def _disbursements(self, query: str) -> ApiResponse:
        """Return the disbursements of a period. A payment has two shares: the merchant's, and the
        fee of the payment facilitator.
        """
        period = {name: values[0] for name, values in parse_qs(query).items()}
        start, end = (micros(period[name]) if name in period else default for name, default in _ALL)
        return json_response(200, [_disbursement(p) for p in payouts(self.state, start, end)])

    def _operate(self, order_id: str, operation: str, body: Doc, now: int) -> ApiResponse:
        order = self.state.get("order", order_id)
        if order is None:
            return error_response(404, "not_found", as_list=True)
        reached, target = STATES.index(order["status"]), OPERATIONS[operation]
        repeated = reached >= target
        allowed = repeated or _is_allowed(order, target, body.get("fast_forward") is True)
        if allowed and not repeated:
            states = STATES[reached + 1 : target + 1]
            times = {f"{state.lower()}_at": rfc3339(now) for state in states}
            order |= {"status": states[-1]} | times
            self.state.put("order", order_id, order)
        entry = {
            "at": rfc3339(now),
            "order_id": order_id,
            "operation": operation,
            "repeated": repeated,
            "status": order["status"],
            "answer": 204 if allowed else 403,
        }
        self.state.put("log", str(uuid4()), entry)
        if allowed:
            return json_response(204)
        return error_response(403, "operation_forbidden", as_list=True)


def _disbursement(payout: Doc) -> Doc:
    settlements = [
        share
        for number, item in enumerate(payout["items"])
        for share in (
            _share(payout, number, item, "merchant", item["amount"] - item["fee"]),
            _share(payout, number, item, "payment_facilitator", item["fee"]),
        )
    ]
    paid = [share["amount"] for share in settlements if share["recipient_type"] == "merchant"]
    return {
        "id": payout["id"],
        "amount": sum(paid),
        "currency": payout["items"][0]["currency"],
        "disbursed_at": rfc3339(payout["at"]),
        "manual_corrections": [],
        "settlements": settlements,
    }


def _share(payout: Doc, number: int, item: Doc, recipient: str, amount: int) -> Doc:
    return {
        "id": f"{payout['id']}-{number}-{recipient}",
        "amount": amount,
        "payment_id": item["payment_id"],
        "payment_order_id": item["order_id"],
        "recipient_type": recipient,
        "reference": payout["id"],
    }


def _is_allowed(order: Doc, target: int, fast_forward: bool) -> bool:
    is_next = fast_forward or STATES.index(order["status"]) == target - 1
    return is_next and all(payment["status"] in TERMINATED for payment in order["payments"])


def _page(docs: list[Doc], path: str, query: str) -> ApiResponse:
    """Return one page of the documents that match the query, with a link to the next one."""
    filters = {name: values[0] for name, values in parse_qs(query).items()}
    limit, offset = (_number(filters.pop(name, ""), default) for name, default in _PAGING)
    try:
        start, end = (micros(filters.pop(n)) if n in filters else d for n, d in _CREATED)
    except ValueError:
        return error_response(422, "created_at_is_no_time", as_list=True)
    matches = [
        doc
        for doc in docs
        if all(doc.get(name, text) == text for name, text in filters.items())
        and ("created_at" not in doc or start <= micros(doc["created_at"]) < end)
    ]
    following = parse_qs(query) | {"limit": [str(limit)], "offset": [str(offset + limit)]}
    href = f"{path}?{urlencode(following, doseq=True)}"
    links = {"next": {"href": href}} if offset + limit < len(matches) else {}
    return json_response(200, {"data": matches[offset : offset + limit], "_links": links})


def _number(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default


def found_or_404(doc: Doc | None, as_list: bool = False) -> ApiResponse:
    return error_response(404, "not_found", as_list) if doc is None else json_response(200, doc)


def error_response(status: int, code: str, as_list: bool = False) -> ApiResponse:
    """Return one error: flat in the Payment Links API, in a list in the Payments API."""
    error = {"error": code, "description": code.replace("_", " "), "property": None}
    return json_response(status, {"errors": [error]} if as_list else error)
