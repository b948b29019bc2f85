"""Reconcile a period of a provider: fetch or read, keep as received, match, publish."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from connectors.kafka.cluster import Cluster
from connectors.payouts import csv_file, topics
from connectors.payouts.csv_file import BadFile
from connectors.payouts.raw import Payload, newest_by_day
from connectors.providers.base import Provider, Refusal, Unreadable
from connectors.providers.payout_api import PayoutApi, PayoutLines
from schemas.codec import Codecs
from schemas.payouts import PayoutLine
from schemas.times import DAY
from streams.domain.payout_records import payouts_of, reconciliation_of, settled_orders
from streams.domain.reconcile import Ledger, Period, Result

# Returns the payload of each day; the days are given by their beginnings (microseconds, UTC).
Fetch = Callable[[Sequence[int]], Sequence[Payload]]
_MOST_FAULTS = 20


class BadPayouts(Exception):
    """The file cannot be used; the message names each line that is wrong."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to reconcile. `name` is the provider's name in records. Without `publish`, nothing is
    stored.
    """

    name: str
    provider: Provider
    period: Period
    publish: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a period. `refused` are items of the provider's answers that cannot be read,
    `outside` are lines of the file that the period leaves out, `unreadable` counts closes.
    """

    result: Result
    refused: tuple[str, ...] = ()
    outside: tuple[PayoutLine, ...] = ()
    unreadable: int = 0

    @property
    def is_complete(self) -> bool:
        return not (self.result.differs or self.refused or self.unreadable)


def days_to_fetch(job: Job) -> range:
    """Return the beginnings of the days whose payouts can pay an order of the period."""
    first = job.period.start - (1 + job.provider.config.payout_days) * DAY
    since = job.provider.PAYOUTS_SINCE if isinstance(job.provider, PayoutApi) else 0
    return range(max(first, since), job.period.end, DAY)


def file_payload(job: Job, body: bytes) -> Payload:
    """Return a file as the payload of the period. Raises BadPayouts."""
    payload = Payload(job.name, "file", job.period.start, job.period.end, body)
    try:
        refused = _read(job.provider, payload).refused
    except BadFile as error:
        raise BadPayouts(str(error)) from None
    if refused:
        raise BadPayouts("\n".join(_faults(refused)))
    return payload


def run(
    job: Job,
    cluster: Cluster,
    codecs: Codecs,
    file: Payload | None,
    fetch: Fetch,
) -> Outcome:
    """Reconcile the period, with `file` or else with what `fetch` returns.

    The result follows from the topics alone: what is new is published first, as received. Raises
    what `fetch` raises, NotAcknowledged, NoSuchTopic, KafkaException, SchemaAway.
    """
    new = [file] if file is not None else [*fetch(days_to_fetch(job))]
    stored = _Stored(newest_by_day(topics.stored_payloads(cluster, job.name)))
    for payload in new:
        if stored.add(payload) and job.publish:
            topics.publish_payload(cluster, payload)
    lines, refused = stored.lines(job)
    known = topics.read_closes(cluster, codecs, job.name)
    ledger = Ledger.of(known.by_order.values(), lines)
    payout_days = job.provider.config.payout_days
    if job.publish:
        days = [ledger.reconcile(day, payout_days) for day in job.period.days()]
        _publish(job, cluster, codecs, days)
    outside = _outside(job, file) if file is not None else ()
    result = ledger.reconcile(job.period, payout_days)
    return Outcome(result, tuple(refused), tuple(outside), known.unreadable)


@dataclass(slots=True)
class _Stored:
    """The payload that counts for each day."""

    by_day: dict[int, Payload] = field(default_factory=dict)

    def add(self, payload: Payload) -> bool:
        """Let a payload count for its days. Return whether that changes anything."""
        changes = any(self.by_day.get(day) != payload for day in payload.days())
        self.by_day |= dict.fromkeys(payload.days(), payload)
        return changes

    def lines(self, job: Job) -> tuple[list[PayoutLine], list[str]]:
        """Return the lines of each day from the payload that counts for it, and what of the
        period's payloads cannot be read.
        """
        lines: list[PayoutLine] = []
        refused: list[str] = []
        for payload in dict.fromkeys(self.by_day.values()):
            own = {day for day in payload.days() if self.by_day[day] == payload}
            found = _readable(job.provider, payload)
            # An equal line of two pages is one line, but equal rows of a file are two payments.
            each = found.lines if payload.source == "file" else dict.fromkeys(found.lines)
            lines += [line for line in each if _day(line) in own]
            if any(job.period.has(day) for day in own):
                refused += _faults(found.refused)
        return lines, refused


def _day(line: PayoutLine) -> int:
    return line.at - line.at % DAY


def _readable(provider: Provider, payload: Payload) -> PayoutLines:
    """Return the lines of a payload; one that cannot be read at all has only a refusal."""
    try:
        return _read(provider, payload)
    except (BadFile, Unreadable) as error:
        return PayoutLines(refused=(Refusal("the answer", Unreadable(str(error))),))


def _read(provider: Provider, payload: Payload) -> PayoutLines:
    """Return the lines of a payload. Raises BadFile, Unreadable."""
    if payload.source == "file":
        columns = provider.config.payout_columns
        return csv_file.read(payload.body, provider.PAYOUT_COLUMNS, columns, payload.start)
    if not isinstance(provider, PayoutApi):
        raise Unreadable("the provider has no API that lists payouts")
    return provider.read_payouts(payload.body)


def _faults(refused: Sequence[Refusal]) -> Iterator[str]:
    for item, error in refused[:_MOST_FAULTS]:
        yield f"{item}: {error}"
    if len(refused) > _MOST_FAULTS:
        yield f"and {len(refused) - _MOST_FAULTS} more"


def _outside(job: Job, file: Payload) -> Iterable[PayoutLine]:
    return (line for line in _read(job.provider, file).lines if not job.period.has(line.at))


def _publish(job: Job, cluster: Cluster, codecs: Codecs, days: Sequence[Result]) -> None:
    name = job.name
    # Where we settle by order, the process `settle` reports it.
    by_order = job.provider.settlement == "by_order"
    topics.publish_results(
        cluster,
        codecs,
        (reconciliation_of(name, day) for day in days),
        (payout for day in days for payout in payouts_of(name, day)),
        (u for day in days if not by_order for u in settled_orders(name, day)),
    )
