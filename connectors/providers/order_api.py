"""The interface of a provider that settles by order, for the settle process. No I/O."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from connectors.providers.base import ApiRequest, ApiResponse

OrderAction = Literal["CLOSE", "SPLIT", "SETTLE"]


@dataclass(frozen=True, slots=True)
class Done:
    """The order has reached the state, now or earlier."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The action is not possible yet. `provider_down`: the reason affects every other order too."""

    reason: str
    provider_down: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The action is never possible. `reason` is the provider's text."""

    reason: str


Verdict = Done | Wait | Refused


@runtime_checkable
class OrderApi(Protocol):
    """A provider that settles by order: it closes, splits and settles an order, idempotently."""

    def can_look_up(self) -> bool:
        """Return whether credentials for the provider's API are configured."""

    def order_request(self, order_id: str, action: OrderAction, fast_forward: bool) -> ApiRequest:
        """Return the request for an action; `fast_forward` includes the actions before it."""

    def order_verdict(self, action: OrderAction, response: ApiResponse) -> Verdict:
        """Return what the response to an action means."""
