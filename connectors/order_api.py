"""What the settle process needs to know of a provider that settles by order. Free of I/O."""

from dataclasses import dataclass
from typing import Literal, Protocol

from connectors.provider import ApiRequest, ApiResponse

OrderAction = Literal["CLOSE", "SPLIT", "SETTLE"]


@dataclass(frozen=True, slots=True)
class Done:
    """The order has come that far, now or before."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now. `provider_down` when the reason is not this order's own but would meet any other
    too.
    """

    reason: str
    provider_down: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Never; the reason in the provider's words."""

    reason: str


Verdict = Done | Wait | Refused


class OrderApi(Protocol):
    """The provider's calls to close, split and settle an order, each harmless when repeated."""

    def ready(self) -> bool:
        """Whether credentials for the provider's API are configured."""

    def step(self, order_id: str, action: OrderAction, fast_forward: bool) -> ApiRequest:
        """The request that performs the action; with `fast_forward`, also those before it."""

    def judge(self, action: OrderAction, response: ApiResponse) -> Verdict:
        """What the answer to it means."""
