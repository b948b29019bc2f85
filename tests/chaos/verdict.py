"""The comparison of what came in, what must follow from it, and what is there."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from connectors.providers.base import Provider
from schemas.headers import headers_of
from schemas.records import LinkStatus
from streams.agents.agent import text_headers
from streams.domain.rules import ProviderRules
from tests.chaos.evidence import Board, Evidence, trace_of
from tests.chaos.expectation import EventOrigin, Expectation, expect, origin_of
from tests.chaos.ledger import Ledger
from tests.chaos.orders import check_orders
from tests.chaos.problems import Problems
from tests.chaos.sandbox import Doc

# Fields that depend on the order of arrival.
_OF_ARRIVAL = ("version", "changed_at")

Rows = Mapping[tuple[str, str], LinkStatus]


def judge(
    ledger: Ledger,
    planned: Iterable[Doc],
    orders: Iterable[Doc],
    evidence: Evidence,
    providers: Mapping[str, Provider],
    rules: Mapping[str, ProviderRules],
) -> Problems:
    """Return every difference between the ledger, the rules and the evidence."""
    expected = expect(evidence.raw, evidence.registrations, providers, rules)
    problems = Problems()
    problems.lost += _not_stored(ledger, evidence)
    problems.wrong += _forged(ledger, evidence)
    _check_events(problems, expected, evidence)
    problems.wrong += _differences_from_fold(expected.rows, evidence.rows)
    problems.wrong += differences_from_plan(planned, evidence.rows)
    problems.wrong += _differences_from_topics(evidence.board, evidence)
    _check_anomalies(problems, evidence)
    check_orders(problems, expected, orders, evidence, providers)
    return problems


def _not_stored(ledger: Ledger, evidence: Evidence) -> Iterator[str]:
    """Yield what was acknowledged and is not on Kafka."""
    stored = {
        (provider, trace_of(message), message.value())
        for provider, messages in evidence.raw.items()
        for message in messages
    }
    for trace, sent in ledger.acknowledged.items():
        # An answer to a lookup has the trace of the callback, but its own body.
        if (sent.provider, trace, sent.body) not in stored:
            yield f"acknowledged, not in callbacks.{sent.provider}: {trace} {sent.body[:200]!r}"
    for provider, body in evidence.delivered:
        if (provider, None, body) not in stored:
            yield f"acknowledged to the provider, not in callbacks.{provider}: {body[:200]!r}"
    registered = {trace_of(message) for message in evidence.registrations}
    for trace, link in ledger.registered.items():
        if trace not in registered:
            yield f"registration acknowledged, not in links: {link}"


def _forged(ledger: Ledger, evidence: Evidence) -> Iterator[str]:
    for messages in evidence.raw.values():
        for message in messages:
            if trace_of(message) in ledger.forged:
                yield f"forged and refused, but stored: {origin_of(message)}"


def _check_events(problems: Problems, expected: Expectation, evidence: Evidence) -> None:
    """Each raw record has had its effect, once."""
    events = Counter((event["event_id"], event["origin"]) for event in evidence.events)
    ids = {event["event_id"] for event in evidence.events}
    notices = Counter((notice["event_id"], notice["origin"]) for notice in evidence.notices)
    headers = [text_headers(headers_of(message)) for message in evidence.dead_letters]
    dead = Counter(each["origin"] for each in headers)
    problems.lost += [f"no link event {event}" for event in expected.events - events]
    problems.lost += [f"no joined event {event_id}" for event_id in expected.joined - ids]
    problems.lost += [f"no notice {notice}" for notice in expected.notices - notices]
    problems.lost += [f"no dead letter of {origin}" for origin in expected.dead - dead.keys()]
    problems.lost += [
        f"dead letter {each['origin']} of {each['stage']}: {each['reason']}"
        for each in headers
        if each["origin"] not in expected.dead
    ]
    known: Counter[EventOrigin] = expected.events + expected.waiting
    problems.wrong += [f"a link event of no record: {event}" for event in events.keys() - known]
    repeats = Counter({event: n for event, n in events.items() if event in known}) - known
    repeats += notices - expected.notices
    problems.repeats += repeats.total() + dead.total() - len(dead)


def _differences_from_fold(expected: Rows, rows: Rows) -> Iterator[str]:
    for link in expected.keys() | rows.keys():
        want, have = _without_arrival(expected.get(link)), _without_arrival(rows.get(link))
        if want != have:
            yield f"{link}: {_difference(want, have)}"


def _without_arrival(row: Any) -> dict[str, Any]:
    return {name: value for name, value in (row or {}).items() if name not in _OF_ARRIVAL}


def _difference(want: Mapping[str, Any], have: Mapping[str, Any]) -> str:
    if not want or not have:
        return "no row" if want else "an unexpected row"
    names = [name for name in want if want[name] != have.get(name)]
    return "; ".join(f"{name} is {have.get(name)}, must be {want[name]}" for name in names)


def differences_from_plan(planned: Iterable[Doc], rows: Rows) -> Iterator[str]:
    for link in planned:
        row = rows.get((link["provider"], link["link_id"]))
        money = row and (row["refunded_minor"], row["disputed_minor"])
        seen = row and (row["status"], row["coverage"], sorted(row["anomalies"]))
        order_id = link["order_id"] and row and row["order_id"]
        expected = [(s, link["coverage"], sorted(link["anomalies"])) for s in link["status"]]
        if money not in (None, (link["refunded_minor"], link["disputed_minor"])):
            yield f"{link['provider']} {link['link_id']}: refunded and disputed are {money}"
        if seen not in expected or order_id != link["order_id"]:
            name = f"{link['provider']} {link['link_id']} ({link['outcome']})"
            yield f"{name}: is {seen} in {order_id}, must be {expected} in {link['order_id']}"


def _differences_from_topics(board: Board, evidence: Evidence) -> Iterator[str]:
    """Compare the board's database with the topics."""
    for what, topic, table in (
        ("link-status", evidence.rows, board.rows),
        ("orders", evidence.orders, board.orders),
    ):
        for key in topic.keys() | table.keys():
            if topic.get(key) != table.get(key):
                yield f"board: {what} {key}: {_difference(topic.get(key, {}), table.get(key, {}))}"
    sent_ids = {
        "order_close": {close["event_id"] for close in evidence.closes},
        "settlements": {settlement["event_id"] for settlement in evidence.settlements},
        "notices": {notice["event_id"] for notice in evidence.notices},
        "dead_letters": {origin_of(message) for message in evidence.dead_letters},
    }
    for events, sent in sent_ids.items():
        if sent != (kept := board.ids[events]):
            yield f"board: {events}: {len(sent - kept)} missing, {len(kept - sent)} too many"
    if board.unreadable:
        yield f"board: {board.unreadable} records could not be read"


def _check_anomalies(problems: Problems, evidence: Evidence) -> None:
    """Each anomaly in a row was published, once."""
    counts = Counter(
        (a["provider"], a["link_id"], a["kind"], a["event_id"]) for a in evidence.anomalies
    )
    published = {anomaly[:3] for anomaly in counts}
    for (provider, link_id), row in evidence.rows.items():
        problems.lost += [
            f"anomaly {kind} of {provider} {link_id} was never published"
            for kind in row["anomalies"]
            if (provider, link_id, kind) not in published
        ]
    # A repeated callback with an unknown status raises the same anomaly again.
    problems.repeats += sum(n - 1 for key, n in counts.items() if key[2] != "UNKNOWN_STATUS")
