"""Import the links that exist at a provider: list them, ask about each, publish the answers.

One window after the other, at a limited rate. What is covered is noted on Kafka, so that an import
that was killed goes on, and one that runs again leaves out what it has covered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, Protocol

from connectors.clock import micros_now
from connectors.http.caller import Caller, ProviderAway
from connectors.http.client import http_client
from connectors.http.retry_queue import rate_limit
from connectors.imports.topics import ImportTopics, KnownLinks
from connectors.kafka.sync_producer import Record
from connectors.providers import raw
from connectors.providers.base import Answer, Provider
from connectors.providers.link_list import LinkIds
from connectors.providers.lookup_answer import NOT_FOUND
from schemas.ids import event_id
from schemas.limits import ANSWER_BYTES
from schemas.records import ENDED, ImportWindow, LookupRequest, Status
from schemas.topics import message_key

# Links that are published, and noted as covered, together: so many are asked again after a kill.
CHUNK = 20
# Links in a row without an answer, after which the provider is away.
MOST_SILENT = 3


class Window(NamedTuple):
    """A part of an import that is listed and covered as one: a day, or a file. `over`: no more
    links can come into it.
    """

    name: str
    links: Callable[[Caller], Awaitable[LinkIds]]
    over: bool


class Topics(Protocol):
    """The part of `ImportTopics` that an import needs."""

    def publish(self, records: Iterable[Record]) -> None: ...

    def note(self, window: ImportWindow) -> None: ...


@dataclass(frozen=True, slots=True)
class Job:
    """What to import. `closed_elsewhere`: the orders of paid links were closed before. `again`:
    what is covered, too. Without `publish`, the links are only listed.
    """

    account: str
    provider: Provider
    closed_elsewhere: bool
    again: bool = False
    publish: bool = True


@dataclass(slots=True)
class Summary:
    """What became of an import.

    `windows` were imported, `covered` ones had been before. `new` and `known` links were asked and
    their answers published; `skipped` ones are known to be paid, or the provider forbids to ask.
    The provider does not know `not_found`, and did not answer about `unanswered`; `refused` are
    items without an id.
    """

    windows: int = 0
    covered: int = 0
    new: int = 0
    known: int = 0
    skipped: int = 0
    not_found: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        return not (self.not_found or self.unanswered or self.refused)


@dataclass(slots=True)
class Importer:
    """`known` are the links, and `covered` the windows, when the import begins; `advance` is called
    with how many more links are dealt with.
    """

    job: Job
    topics: Topics
    caller: Caller
    known: KnownLinks
    covered: dict[str, ImportWindow]
    advance: Callable[[int], None] = lambda _: None
    summary: Summary = field(default_factory=Summary)
    _silent: int = 0

    async def run(self, windows: Iterable[Window]) -> Summary:
        """Import the windows. Raises ProviderAway, ListRefused, NotAcknowledged, KafkaException."""
        for window in windows:
            before = None if self.job.again else self.covered.get(window.name)
            if before is not None and before["complete"]:
                self.summary.covered += 1
                continue
            await self._import(window, before)
            self.summary.windows += 1
        return self.summary

    async def _import(self, window: Window, before: ImportWindow | None) -> None:
        listed = await window.links(self.caller)
        self.summary.refused += (f"{window.name}, {fault}" for fault in listed.refused)
        after, links, unanswered = "", 0, 0
        if before is not None and before["after"] is not None:
            # An import that was killed: what follows is still to do.
            after, links, unanswered = before["after"], before["links"], before["unanswered"]
        # In the order of the ids, so that it does not matter in which order they are listed.
        left = sorted(link_id for link_id in listed.ids if link_id > after)
        for chunk in _chunks(left):
            silent = len(self.summary.unanswered)
            records = [one for link_id in chunk if (one := await self._record(link_id))]
            links += len(records)
            unanswered += len(self.summary.unanswered) - silent
            if records:
                await asyncio.to_thread(self.topics.publish, records)
            await self._note(window, chunk[-1], links, unanswered)
        await self._note(window, None, links, unanswered)

    async def _note(self, window: Window, after: str | None, links: int, unanswered: int) -> None:
        if not self.job.publish:
            return
        record: ImportWindow = {
            "provider": self.job.account,
            "window": window.name,
            "after": after,
            "links": links,
            "unanswered": unanswered,
            "complete": after is None and window.over and not unanswered,
            "closed_elsewhere": self.job.closed_elsewhere,
            "at": micros_now(),
        }
        await asyncio.to_thread(self.topics.note, record)

    async def _record(self, link_id: str) -> Record | None:
        """Return the record of the provider's answer; None if there is none to publish."""
        job, summary, status = self.job, self.summary, self.known.status(link_id)
        self.advance(1)
        if _needs_no_answer(job, status):
            summary.skipped += 1
            return None
        answer = await self._ask(link_id) if job.publish else None
        if job.publish and answer is None:
            return None
        summary.new += status is None
        summary.known += status is not None
        if answer is None:
            return None
        headers = raw.import_headers(
            job.account, link_id, answer.status, closed_elsewhere=job.closed_elsewhere
        )
        return message_key(job.account, link_id), answer.body, headers

    async def _ask(self, link_id: str) -> Answer | None:
        """Return what the provider knows of a link; None if it does not know the link, or does not
        answer. Raises ProviderAway if several answers in a row do not come.
        """
        job = self.job
        try:
            answer = await self.caller.perform(
                lambda: job.provider.lookup(_request(job.account, link_id), micros_now()),
                ANSWER_BYTES,
            )
        except ProviderAway as error:
            self._silent += 1
            if self._silent == MOST_SILENT:
                raise ProviderAway(f"{job.account} does not answer: {error}") from None
            self.summary.unanswered.append(link_id)
            return None
        self._silent = 0
        if str(answer.status) in NOT_FOUND:
            self.summary.not_found.append(link_id)
            return None
        return answer


def import_links(
    topics: ImportTopics,
    job: Job,
    windows: Iterable[Window],
    per_second: float,
    timeout: float,
    advance: Callable[[int], None],
) -> Summary:
    """Import the windows with so many calls a second. Raises what `Importer.run` raises, and
    NoSuchTopic, SchemaAway.
    """
    covered = topics.covered()

    async def run(known: KnownLinks) -> Summary:
        async with http_client(timeout) as client:
            caller = Caller(client, rate_limit(per_second))
            return await Importer(job, topics, caller, known, covered, advance).run(windows)

    with closing(topics.known_links()) as known:
        return asyncio.run(run(known))


def _needs_no_answer(job: Job, status: Status | None) -> bool:
    """Whether we know that a link is paid, or that it has ended, and the provider forbids to ask
    after that.
    """
    is_final = job.provider.final_after_end and status in ENDED
    return is_final or (status == "PAID" and not job.again)


def _chunks(links: Sequence[str]) -> Iterator[list[str]]:
    iterator = iter(links)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _request(account: str, link_id: str) -> LookupRequest:
    now = micros_now()
    return {
        "request_id": event_id("lookup", account, link_id, "import", now),
        "provider": account,
        "link_id": link_id,
        "reason": "DETAILS",
        "claimed_status": None,
        "payment_id": None,
        "refund": None,
        "issued": True,
        "requested_at": now,
    }
