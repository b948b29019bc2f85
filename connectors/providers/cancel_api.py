"""The interface of a provider whose API cancels links. No I/O."""

from collections.abc import Generator
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from connectors.providers import api
from connectors.providers.base import ApiRequest, ApiResponse

Outcome = Literal["DONE", "REFUSED", "NOT_KNOWN", "LATER"]

# A 403 means that the link cannot be cancelled, or not any more; it is not about the credentials.
_RETRYABLE = api.RETRYABLE - {403}
_NOT_FOUND = frozenset({404, 410})


class Verdict(NamedTuple):
    """The outcome of a cancellation. `message` is the provider's status and text."""

    outcome: Outcome
    message: str


Cancellation = Generator[ApiRequest, ApiResponse, Verdict]


@runtime_checkable
class CancelApi(Protocol):
    """A provider that can cancel a link. The board offers it only for such providers."""

    def can_look_up(self) -> bool:
        """Return whether credentials for the provider's API are configured."""

    def cancel(self, link_id: str, now: int) -> Cancellation:
        """Yield the API requests that cancel the link permanently, like `Provider.lookup`."""


def judge(response: ApiResponse) -> Verdict:
    status = response.status
    message = f"{status} {api.error_text(response.body).strip()}".strip()
    if 200 <= status < 300:
        return Verdict("LATER" if api.is_page(response) else "DONE", message)
    if status in _NOT_FOUND:
        return Verdict("NOT_KNOWN", message)
    if 400 <= status < 500 and status not in _RETRYABLE:
        return Verdict("REFUSED", message)
    return Verdict("LATER", message)
