"""Lookup jobs: the limits on them, which requests share one, and the answers that end a link."""

from collections import OrderedDict
from dataclasses import dataclass, field

from connectors.kafka.task import Job, Task
from connectors.providers.base import Answer
from schemas.headers import Headers
from schemas.records import ENDED, LookupRequest, Status


@dataclass(frozen=True, slots=True)
class LookupLimits:
    """How many calls we make to a provider, and how long we wait for it. Times in seconds."""

    per_second: float
    # For links that we never issued.
    unissued_per_minute: float
    timeout: float
    # With so many requests pending, we take no more from Kafka.
    max_pending: int = 5_000
    # How many requests for links that we never issued may wait. All senders of callbacks have the
    # same share. Beyond it, we drop requests: the worker's poll timer asks again.
    max_unissued: int = 10_000
    # How long we retry such a request while no answer comes. The poll timer asks again after that,
    # too, a limited number of times.
    unissued_for: float = 86_400.0
    # How long after each answer that did not confirm a claim we ask again. After the last one the
    # claim is denied.
    claim_pauses: tuple[float, ...] = (1.0, 3.0, 10.0)
    # How long we ask for the amount of a refund while the API does not answer. Then the refund is
    # published without it.
    refund_for: float = 900.0
    retry_pauses: tuple[float, float] = (1.0, 300.0)
    breaker_pauses: tuple[float, float] = (1.0, 60.0)


@dataclass(slots=True, eq=False)
class LookupJob(Job):
    """One lookup, for all requests with the same `dedup_key`."""

    request: LookupRequest = field(kw_only=True)
    trace: Headers = field(kw_only=True)
    # When it was created, by the loop's clock, in seconds.
    created: float = field(kw_only=True)
    answers: int = 0

    def add(self, task: Task, request: LookupRequest) -> None:
        """Let the lookup answer another request, too; it asks for an ending if one of them does."""
        self.tasks.append(task)
        if self.request["claimed_status"] not in ENDED:
            self.request = request

    def pause_after(self, answer: Answer, pauses: tuple[float, ...]) -> float | None:
        """Return after how many seconds to ask again; None when this answer is the last word.
        `pauses` follow the first, the second … answer.
        """
        can_change = self.request["claimed_status"] in ENDED or self.request["refund"] is not None
        if answer.is_conclusive or not can_change or self.answers > len(pauses):
            return None
        return pauses[self.answers - 1]


DedupKey = tuple[str, Status | None, str | None, str | None, bool]


def dedup_key(request: LookupRequest) -> DedupKey:
    # Anyone can claim anything about a link that we never issued: it has one lookup.
    if not request["issued"]:
        return request["link_id"], None, None, None, False
    # A last word on one claim says nothing about another, so each claim has its own lookup.
    return (
        request["link_id"],
        request["claimed_status"],
        request["payment_id"],
        request["refund"]["refund_id"] if request["refund"] else None,
        request["issued"],
    )


class EndedAnswers:
    """The latest answers that ended a link, in memory. They also answer requests that were made
    before the answer came and, where an end is final (`final_after_end`: iPint forbids to ask
    again), all later requests.
    """

    _MAX_LINKS = 1000
    # A larger body is no answer about one link that is worth keeping.
    _MAX_BYTES = 16 << 10

    def __init__(self, final_after_end: bool) -> None:
        self._final_after_end = final_after_end
        self._answers: OrderedDict[str, tuple[int, Answer]] = OrderedDict()

    def keep(self, link_id: str, answer: Answer, now: int) -> None:
        """Keep an answer about the link that ended it; `now` in microseconds."""
        if len(answer.body) <= self._MAX_BYTES:
            self._answers[link_id] = (now, answer)
            self._answers.move_to_end(link_id)
        if len(self._answers) > self._MAX_LINKS:
            self._answers.popitem(last=False)

    def find(self, request: LookupRequest) -> Answer | None:
        """Return the answer to the request, if it needs no call. A refund comes after the end."""
        if request["refund"] is not None:
            return None
        answered_at, answer = self._answers.get(request["link_id"], (0, None))
        return answer if self._final_after_end or request["requested_at"] <= answered_at else None
