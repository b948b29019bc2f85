"""What came in: it is stored, and each record has its effect, once and as it means."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from tests.checker.findings import (
    DOUBLED,
    LOST,
    REFUSED,
    REPEATED,
    UNCOMMITTED,
    WRONG_EVENT,
    Findings,
    finding,
)
from tests.checker.history import (
    ANOMALIES,
    CALLBACKS,
    CLOSES,
    CORRECTIONS,
    DEAD,
    EVENTS,
    LINKS,
    LOOKUPS,
    NOTICES,
    ORDERS,
    PAYMENT_EVENTS,
    PAYMENTS,
    REFUNDS,
    SETTLEMENTS,
    UPDATES,
    History,
    Record,
)
from tests.checker.meaning import Meaning, meaning

# Only our transactions write these: no record may come again.
_ONCE = (EVENTS, NOTICES, ANOMALIES, LOOKUPS, REFUNDS, CLOSES, CORRECTIONS, SETTLEMENTS, DEAD)
_DECISIONS = (CLOSES, CORRECTIONS, SETTLEMENTS)


def check_delivery(history: History) -> Findings:
    yield from _acknowledged(history)
    yield from _refused(history)
    yield from _without_effect(history)
    yield from _wrong_events(history)
    for topic in _ONCE:
        yield from _again(history, topic)
    for topic in _DECISIONS:
        yield from _two_decisions(history, topic)


def _trace(record: Record) -> str | None:
    """Return the trace id of W3C Trace Context."""
    parts = record.headers.get("traceparent", "").split("-")
    return parts[1] if len(parts) == 4 else None


def _acknowledged(history: History) -> Findings:
    """All that a sender states about a callback, a record must have."""
    stored = defaultdict[tuple[str, str | None], list[Record]](list)
    for record in (*history.raw(), *history.topics[LINKS]):
        stored[record.place[0], _trace(record)].append(record)
    for number, line in history.acknowledged:
        topic: str = line["topic"]
        trace, key, body = (line.get(name) for name in ("trace", "key", "body"))
        raw = None if body is None else body.encode("latin-1")
        candidates = stored[topic, trace] if trace else history.topics[topic]
        if not any(raw in (None, r.body) and key in (None, r.key) for r in candidates):
            text = f"acknowledged, not in {topic}: {trace or ''} {(raw or b'')[:200]!r}"
            yield finding(LOST, key or topic, text, [number])


def _refused(history: History) -> Findings:
    for record in history.raw():
        number = history.refused.get(_trace(record) or "")
        if number is not None:
            text = f"{record.origin} was refused, and is stored"
            yield finding(REFUSED, record.key or record.place[0], text, [number, record.line])


def _origins(history: History) -> Iterator[str]:
    """Yield the origin of everything that follows from a raw record."""
    for topic in (EVENTS, NOTICES):
        yield from (record.value["origin"] for record in history.topics[topic])
    yield from (record.headers.get("origin", "") for record in history.topics[DEAD])
    for record in history.topics[PAYMENT_EVENTS]:
        if record.value["event"] is not None:
            yield record.value["event"]["origin"]
    for record in history.topics[PAYMENTS]:
        if record.value is not None:
            yield from (event["origin"] for event in record.value["waiting"])


def _meaning(history: History, raw: Record) -> Meaning:
    provider = history.connection(raw.place[0].removeprefix(CALLBACKS)).provider
    return meaning(provider, raw.headers, raw.body or b"")


def _without_effect(history: History) -> Findings:
    if not (history.is_whole(EVENTS) and history.is_whole(NOTICES) and history.is_whole(DEAD)):
        return
    origins = {*_origins(history)}
    bodies = {(r.place[0], r.body) for r in history.raw() if r.origin in origins}
    for record in history.raw():
        if record.origin not in origins:
            # Of repeats only one waits for its link.
            shares = _meaning(history, record).joins and (record.place[0], record.body) in bodies
            if not shares:
                text = f"{record.origin} has no event, no notice and no dead letter"
                yield finding(LOST, record.key or record.place[0], text, [record.line])
    for record in history.topics[LINKS]:
        is_deleted = record.value is None and record.body is None
        if not is_deleted and record.origin not in origins:
            text = f"the registration {record.origin} has no event and no dead letter"
            yield finding(LOST, record.key or "", text, [record.line])
    yield from _not_joined(history)
    yield from _lost_updates(history, origins)


def _not_joined(history: History) -> Findings:
    """Once the link of a payment is known, its events are events of the link."""
    rows = {record.key: record for record in history.topics[PAYMENTS] if record.value is not None}
    known = {record.value["event_id"] for record in history.topics[EVENTS]}
    for record in (*history.topics[PAYMENT_EVENTS], *history.topics[PAYMENTS]):
        value, row = record.value, rows.get(record.key)
        if value is None or row is None or row.value["link_id"] is None:
            continue
        events = value["waiting"] if "waiting" in value else [value["event"]]
        for event in events:
            if event is not None and event["event_id"] not in known:
                text = f"{event['event_id']} is no event of link {row.value['link_id']}"
                yield finding(LOST, record.key or "", text, [record.line, row.line])


def _lost_updates(history: History, origins: Iterable[str]) -> Findings:
    orders = {record.key: record.value for record in history.topics[ORDERS]}
    for record in history.topics[UPDATES]:
        row, step = orders.get(record.key), record.value and record.value["step"]
        is_in_row = row is not None and step in row["steps"]
        if record.origin not in origins and not is_in_row:
            text = f"the report {step} is not in the row of its order"
            yield finding(LOST, record.key or "", text, [record.line])


def _wrong_events(history: History) -> Findings:
    """Each event comes from a record, and states what that may mean."""
    raw = {record.origin: record for record in history.raw()}
    registrations = {record.origin for record in history.topics[LINKS]}
    unseen = {record.origin: record for record in history.unseen.values()}
    for record in history.topics[EVENTS]:
        origin, key = record.value["origin"], record.key or ""
        if origin in raw:
            yield from _against(history, record, raw[origin])
        elif origin in unseen:
            text = f"follows from {origin}, which was not committed"
            yield finding(UNCOMMITTED, key, text, [record.line, unseen[origin].line])
        elif origin not in registrations and _is_kept(history, origin):
            text = f"follows from no record: {origin}"
            yield finding(WRONG_EVENT, key, text, [record.line])


def _is_kept(history: History, origin: str) -> bool:
    """Whether a record of this place cannot be deleted yet. `links` is compacted."""
    topic, partition, offset = origin.rsplit("/", 2)
    return topic != LINKS and int(offset) >= history.starts.get((topic, int(partition)), 0)


def _against(history: History, record: Record, raw: Record) -> Findings:
    event, wrong = record.value, list[str]()
    connection = raw.place[0].removeprefix(CALLBACKS)
    link_id, statuses, _ = _meaning(history, raw)
    if event["provider"] != connection or link_id not in (None, event["link_id"]):
        wrong.append(f"it is about {connection}:{link_id}")
    if statuses is not None and event["status"] not in statuses:
        wrong.append(f"{event['status']} instead of {' or '.join(sorted(statuses))}")
    if event["verified"] and raw.headers.get("verified") != "1":
        wrong.append("verified, and its record is not")
    if wrong:
        text = f"of {raw.origin}: {'; '.join(wrong)}"
        yield finding(WRONG_EVENT, record.key or "", text, [raw.line, record.line])


def _content(record: Record) -> str:
    return repr((record.key, record.value, record.headers if record.body is not None else {}))


def _again(history: History, topic: str) -> Findings:
    known: dict[str, Record] = {}
    for record in history.topics[topic]:
        before = known.setdefault(_content(record), record)
        if before is not record:
            text = f"{record.origin} repeats {before.origin}"
            yield finding(REPEATED, record.key or "", text, [before.line, record.line])


def _two_decisions(history: History, topic: str) -> Findings:
    """Each order closes once, and has each kind of settlement and each number of a correction
    once.
    """
    known: dict[tuple[Any, ...], Record] = {}
    for record in history.topics[topic]:
        value = record.value
        about = (value["provider"], value["order_id"], value.get("kind"), value.get("number"))
        before = known.setdefault(about, record)
        if before.value != value:
            text = f"{record.origin} and {before.origin} differ: {_difference(before, record)}"
            yield finding(DOUBLED, record.key or "", text, [before.line, record.line])


def _difference(before: Record, after: Record) -> str:
    return "; ".join(
        f"{name} {json.dumps(before.value[name])} and {json.dumps(value)}"
        for name, value in after.value.items()
        if before.value[name] != value
    )
