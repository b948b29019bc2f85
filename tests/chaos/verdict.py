"""The comparison: what came in, what must follow from it, and what is there."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors.provider import Provider
from schemas.records import LinkStatus
from streams.domain.rules import ProviderRules
from tests.chaos.evidence import Board, Evidence, trace_of
from tests.chaos.expectation import Expectation, Told, expect, headers_of, origin_of
from tests.chaos.ledger import Ledger
from tests.chaos.orders import check_orders
from tests.chaos.sandboxing import Doc

# What may differ by the order of arrival alone.
_OF_ARRIVAL = ("version", "changed_at")


@dataclass(slots=True)
class Verdict:
    """Differences in words, by kind. `repeats` are events told again under the same id."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong_rows: list[str] = field(default_factory=list)
    repeats: int = 0
    dead_letters: int = 0
    links: int = 0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.wrong_rows)


def judge(
    ledger: Ledger,
    planned: Iterable[Doc],
    orders: Iterable[Doc],
    found: Evidence,
    providers: Mapping[str, Provider],
    rules: Mapping[str, ProviderRules],
) -> Verdict:
    """Every difference between the ledger, the rules and what was found."""
    expected = expect(found.raw, found.registrations, providers, rules)
    verdict = Verdict(dead_letters=len(found.dead_letters), links=len(found.rows))
    verdict.lost += _not_stored(ledger, found)
    verdict.wrong_rows += _forged(ledger, found)
    _check_events(verdict, expected, found)
    verdict.wrong_rows += _unlike_fold(expected.rows, found.rows)
    verdict.wrong_rows += unlike_plan(planned, found.rows)
    verdict.wrong_rows += _unlike_topic(found.board, found)
    _check_anomalies(verdict, found)
    check_orders(verdict, expected, orders, found, providers)
    return verdict


def _not_stored(ledger: Ledger, found: Evidence) -> Iterator[str]:
    """Acknowledged, and not on Kafka."""
    # An answer to a lookup carries the trace on, with a body of its own.
    stored = {
        (provider, trace_of(message), message.value())
        for provider, messages in found.raw.items()
        for message in messages
    }
    for trace, sent in ledger.acknowledged.items():
        if (sent.provider, trace, sent.body) not in stored:
            yield f"acknowledged, not in callbacks.{sent.provider}: {trace} {sent.body[:200]!r}"
    untraced = {
        (provider, message.value())
        for provider, messages in found.raw.items()
        for message in messages
        if trace_of(message) is None
    }
    for provider, body in found.delivered:
        if (provider, body) not in untraced:
            yield f"acknowledged to the provider, not in callbacks.{provider}: {body[:200]!r}"
    registered = {trace_of(message) for message in found.registrations}
    for trace, link in ledger.registered.items():
        if trace not in registered:
            yield f"registration acknowledged, not in links: {link}"


def _forged(ledger: Ledger, found: Evidence) -> Iterator[str]:
    for messages in found.raw.values():
        for message in messages:
            if trace_of(message) in ledger.forged:
                yield f"forged, refused and stored all the same: {origin_of(message)}"


def _check_events(verdict: Verdict, expected: Expectation, found: Evidence) -> None:
    """Each raw record has had its effect, once."""
    told = Counter((event["event_id"], event["origin"]) for event in found.events)
    ids = {event["event_id"] for event in found.events}
    noticed = Counter((notice["event_id"], notice["origin"]) for notice in found.notices)
    dead = Counter(headers_of(message)["origin"] for message in found.dead_letters)
    verdict.lost += [f"no link event {one}" for one in expected.events - told]
    verdict.lost += [f"no joined event {one}" for one in expected.joined - ids]
    verdict.lost += [f"no notice {one}" for one in expected.notices - noticed]
    verdict.lost += [f"no dead letter of {one}" for one in expected.dead - dead.keys()]
    for message in found.dead_letters:
        headers = headers_of(message)
        if headers["origin"] not in expected.dead:
            verdict.lost.append(
                f"dead letter {headers['origin']} of {headers['stage']}: {headers['reason']}"
            )
    known: Counter[Told] = expected.events + expected.waiting
    verdict.wrong_rows += [f"a link event from nowhere: {one}" for one in told.keys() - known]
    again = Counter({one: number for one, number in told.items() if one in known}) - known
    again += noticed - expected.notices
    verdict.repeats += again.total() + dead.total() - len(dead)


def _unlike_fold(
    expected: Mapping[tuple[str, str], LinkStatus], rows: Mapping[tuple[str, str], LinkStatus]
) -> Iterator[str]:
    for link in expected.keys() | rows.keys():
        want, have = _timeless(expected.get(link)), _timeless(rows.get(link))
        if want != have:
            yield f"{link}: {_difference(want, have)}"


def _timeless(row: Any) -> dict[str, Any]:
    return {name: value for name, value in (row or {}).items() if name not in _OF_ARRIVAL}


def _difference(want: Mapping[str, Any], have: Mapping[str, Any]) -> str:
    if not want or not have:
        return "no row" if want else "a row of nothing"
    names = [name for name in want if want[name] != have.get(name)]
    return "; ".join(f"{name} is {have.get(name)}, must be {want[name]}" for name in names)


def unlike_plan(
    planned: Iterable[Doc], rows: Mapping[tuple[str, str], LinkStatus]
) -> Iterator[str]:
    for link in planned:
        row = rows.get((link["provider"], link["link_id"]))
        seen = row and (row["status"], row["coverage"], sorted(row["anomalies"]))
        order_id = link["order_id"] and row and row["order_id"]
        wanted = [(s, link["coverage"], sorted(link["anomalies"])) for s in link["status"]]
        if seen not in wanted or order_id != link["order_id"]:
            name = f"{link['provider']} {link['link_id']} ({link['outcome']})"
            yield f"{name}: is {seen} in {order_id}, must be {wanted} in {link['order_id']}"


def _unlike_topic(board: Board, found: Evidence) -> Iterator[str]:
    """The board's SQL against the topics."""
    for what, want, have in (
        ("link-status", found.rows, board.rows),
        ("orders", found.orders, board.orders),
    ):
        for key in want.keys() | have.keys():
            if want.get(key) != have.get(key):
                yield f"board: {what} {key}: {_difference(want.get(key, {}), have.get(key, {}))}"
    letters = {f"dead-letters/{m.partition()}/{m.offset()}" for m in found.dead_letters}
    for name, ids, kept in (
        ("order-close", {close["event_id"] for close in found.closes}, board.closes),
        ("settlement", {one["event_id"] for one in found.settlements}, board.settlements),
        ("notices", {notice["event_id"] for notice in found.notices}, board.notices),
        ("dead-letters", letters, board.dead_letters),
    ):
        if ids != kept:
            yield f"board: {name}: {len(ids - kept)} missing, {len(kept - ids)} too many"
    if board.unreadable:
        yield f"board: {board.unreadable} records could not be read"


def _check_anomalies(verdict: Verdict, found: Evidence) -> None:
    """What stands in a row was told, and once."""
    told = Counter((a["provider"], a["link_id"], a["kind"], a["event_id"]) for a in found.anomalies)
    kinds = {one[:3] for one in told}
    for (provider, link_id), row in found.rows.items():
        verdict.lost += [
            f"anomaly {kind} of {provider} {link_id} was never told"
            for kind in row["anomalies"]
            if (provider, link_id, kind) not in kinds
        ]
    # A repeated callback with an unknown word is the same anomaly, told again.
    verdict.repeats += sum(n - 1 for one, n in told.items() if one[2] != "UNKNOWN_STATUS")
