"""The providers. Adding one is a folder and a line here."""

from collections.abc import Callable
from typing import Any

from connectors.ipint import IPint
from connectors.order_api import OrderApi
from connectors.peach import Peach
from connectors.ping import Ping
from connectors.ping.orders import PingOrders
from connectors.provider import Provider
from connectors.truelayer import TrueLayer

PROVIDERS: dict[str, type[Provider]] = {
    "ping": Ping,
    "peach": Peach,
    "truelayer": TrueLayer,
    "ipint": IPint,
}

# Those that settle by order: each from the config of its provider.
ORDER_APIS: dict[str, Callable[[Any], OrderApi]] = {"ping": PingOrders}
