"""Closing, splitting and settling an order at Ping: the three idempotent calls of the Payments API.

Vendor documents: reference pages v1closepaymentorder, v1splitpaymentorder, v1settlepaymentorder;
guide "Close, split and settle the PaymentOrder". A close is refused with 403 while a payment of the
order has not ended, a split while the order is not closed, a settle while it is not split: all
three mean "later".
"""

import json

from connectors import calling
from connectors.order_api import Done, OrderAction, Refused, Verdict, Wait
from connectors.ping import PingConfig
from connectors.provider import ApiRequest, ApiResponse

_PATHS: dict[OrderAction, str] = {"CLOSE": "close", "SPLIT": "split", "SETTLE": "settle"}
# The request itself is wrong, or the order does not exist: no later try can help.
_LASTING = frozenset({400, 404, 405, 410, 422})


class PingOrders:
    """Payment orders of the Payments API; their ids are the `order_id`s that Ping's lookups
    name.
    """

    def __init__(self, config: PingConfig) -> None:
        self._base = config.payments_url
        self._tenant_id = config.tenant_id
        self._api_secret = config.api_secret

    def ready(self) -> bool:
        return bool(self._tenant_id and self._api_secret)

    def step(self, order_id: str, action: OrderAction, fast_forward: bool) -> ApiRequest:
        path = f"api/v1/payment_orders/{calling.path_part(order_id)}/{_PATHS[action]}"
        body = {} if action == "CLOSE" else {"fast_forward": fast_forward}
        secret = self._api_secret
        headers = {
            "content-type": "application/json",
            "accept": "application/json",
            "tenant_id": self._tenant_id or "",
            "x-api-secret": secret.get_secret_value() if secret else "",
        }
        return ApiRequest("PUT", f"{self._base}/{path}", headers, json.dumps(body).encode())

    def judge(self, action: OrderAction, response: ApiResponse) -> Verdict:
        if 200 <= response.status < 300:
            return Done()
        reason = f"{action} answered {response.status}: {calling.words(response.body)}"
        if response.status in _LASTING:
            return Refused(reason)
        return Wait(reason, provider_down=response.status not in {403, 409})
