"""What the answer to a lookup states besides the facts: an error, its link, an end, a denial."""

from typing import Any

from connectors.providers.base import Facts, Unreadable
from connectors.providers.facts import link_event
from connectors.providers.payload import Statuses
from connectors.providers.raw import Raw
from schemas.records import ENDED, LookupRequest, Status

# The link does not exist, it was deleted, or the id cannot be the id of a link.
NOT_FOUND = {"404": "not found", "410": "gone", "422": "no such id"}


def not_found(raw: Raw) -> str | None:
    """Return why the provider does not know the id; None for a success. Raises Unreadable for
    any other error.
    """
    status = raw.lookup_status
    if status.startswith("2"):
        return None
    if word := NOT_FOUND.get(status):
        return word
    raise Unreadable(f"the provider answered the lookup with status {status}")


def not_found_facts(raw: Raw) -> Facts | None:
    """Return the fact that the provider does not know the link, or None for a success.

    The last such answer denies a claimed end of the link: before, the callback may have overtaken
    the provider's API. Raises Unreadable for any other error.
    """
    word = not_found(raw)
    if word is None:
        return None
    denied = raw.claimed_status if raw.final and raw.claimed_status in ENDED else None
    return Facts(events=(link_event(raw, raw.link_id or "", "UNKNOWN", word, denies=denied),))


def checked_link_id(raw: Raw, stated: str | None) -> str:
    """Return the id of the requested link. Raises Unreadable if the answer states another one."""
    if stated not in (None, raw.link_id):
        raise Unreadable("the answer is about a link that the lookup did not ask for")
    return raw.link_id or ""


def has_ended(statuses: Statuses, request: LookupRequest, stated_id: Any, *words: Any) -> bool:
    """Return whether one of these provider's statuses is the end of the requested link."""
    ends = [word for word, status in statuses.items() if status in ENDED]
    return stated_id == request["link_id"] and any(word in ends for word in words)


def denied_status(raw: Raw, status: Status) -> Status | None:
    """Return the claimed end that an answer with this status denies, or None.

    An answer denies a claim with another end, or with any other status if it is the last word.
    """
    claim = raw.claimed_status
    if claim not in ENDED or status == claim:
        return None
    return claim if raw.final or status in ENDED else None
