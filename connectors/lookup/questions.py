"""What is asked of the providers, at most how often, and which requests ask the same."""

from collections import OrderedDict
from dataclasses import dataclass, field

from connectors.intake import Errand
from connectors.provider import Answer
from schemas.records import ENDED, LookupRequest, Source, Status


@dataclass(frozen=True, slots=True)
class Limits:
    """What we ask of a provider at most, and how long we wait for it. Times in seconds."""

    per_second: float
    # About links we never issued: at most so many at once, and so many a minute.
    unissued_per_minute: float
    timeout: float
    # Beyond so many waiting requests no more are taken from Kafka.
    most_waiting: int = 5_000
    # Beyond so many, requests for links we never issued are dropped: the worker's poll timer asks
    # again.
    most_unissued: int = 10_000
    # How long such a request is tried again while no answer comes; then, too, the timer asks again,
    # and it does so a bounded number of times.
    unissued_for: float = 86_400.0
    # How long after the first and the second answer that did not confirm a claim we ask again.
    claim_pauses: tuple[float, ...] = (1.0, 3.0)
    retry_pauses: tuple[float, float] = (1.0, 300.0)
    breaker_pauses: tuple[float, float] = (1.0, 60.0)


@dataclass(slots=True, eq=False)
class Question(Errand):
    """One question, for every request that asks the same."""

    request: LookupRequest = field(kw_only=True)
    trace: list[tuple[str, bytes]] = field(kw_only=True)
    # When it was taken, by the loop's clock, in seconds.
    since: float = 0.0
    asked: int = 0

    @property
    def source(self) -> Source:
        """How the answer comes to us."""
        return "poll" if self.request["reason"] == "POLL" else "lookup"

    @property
    def claims_ending(self) -> bool:
        return self.request["claimed_status"] in ENDED


Same = tuple[str, Status | None, str | None, bool]


def same(request: LookupRequest) -> Same:
    # An answer to one claim says nothing final of another, so claims are asked for one by one.
    return (
        request["link_id"],
        request["claimed_status"],
        request["payment_id"],
        request["issued"],
    )


class Ends:
    """The latest answers that told a link's end. They also answer what was asked before they came,
    and where the end is told `for_good` whatever is asked later (iPint forbids it).
    """

    _MOST = 1000
    # Larger ones are no answers about one link worth remembering.
    _LONGEST = 16 << 10

    def __init__(self, for_good: bool) -> None:
        self._for_good = for_good
        self._heard: OrderedDict[str, tuple[int, Answer]] = OrderedDict()

    def keep(self, link_id: str, answer: Answer, now: int) -> None:
        """`answer` told the end; `now` in microseconds."""
        if len(answer.body) <= self._LONGEST:
            self._heard[link_id] = (now, answer)
            self._heard.move_to_end(link_id)
        if len(self._heard) > self._MOST:
            self._heard.popitem(last=False)

    def answer(self, request: LookupRequest) -> Answer | None:
        """What answers the request without asking."""
        heard_at, answer = self._heard.get(request["link_id"], (0, None))
        return answer if self._for_good or request["requested_at"] <= heard_at else None
