"""What the board needs to know of a provider whose API cancels links. Free of I/O."""

from collections.abc import Generator
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from connectors import calling
from connectors.provider import ApiRequest, ApiResponse

Outcome = Literal["DONE", "REFUSED", "NOT_KNOWN", "LATER"]

# Here a 403 is the link's own: see `judge`.
_CURABLE = calling.CURABLE - {403}
_GONE = frozenset({404, 410})


class Verdict(NamedTuple):
    """What the provider answered; `said` in its own words."""

    outcome: Outcome
    said: str


Cancelling = Generator[ApiRequest, ApiResponse, Verdict]


@runtime_checkable
class CancelApi(Protocol):
    """A provider that can also cancel a link; one without this is not offered for it."""

    def can_look_up(self) -> bool:
        """Whether credentials for the provider's API are configured."""

    def cancel(self, link_id: str, now: int) -> Cancelling:
        """The requests that cancel the link for good. Raises LookupRefused. `now` in
        microseconds.
        """


def judge(response: ApiResponse) -> Verdict:
    """What the answer to a cancellation means. A 403 is the link's own, not the credentials': it
    cannot be cancelled, or not any more.
    """
    status, words = response.status, calling.words(response.body).strip()
    said = f"{status} {words}".strip()
    if 200 <= status < 300:
        return Verdict("DONE", said)
    if status in _GONE:
        return Verdict("NOT_KNOWN", said)
    if 400 <= status < 500 and status not in _CURABLE:
        return Verdict("REFUSED", said)
    return Verdict("LATER", said)
