"""What readers saw: only committed records, in their order, none left out, and no old row."""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.checker.findings import LOST, OUT_OF_ORDER, STALE, UNCOMMITTED, Findings, finding
from tests.checker.history import COMPACTED, BadHistory, History, Place, Reader, Record


def check_reads(history: History) -> Findings:
    checks = {"stream": _stream, "table": _table, "set": _set, "sequence": _sequence}
    for reader in history.readers.values():
        if reader.sees not in checks:
            raise BadHistory(f"{reader.name} sees {reader.sees!r}")
        yield from checks[reader.sees](history, reader)


def _stream(history: History, reader: Reader) -> Findings:
    """A stream sees each committed record once, in the order of its partition. It may begin and end
    anywhere.
    """
    records = {record.place: record for record in history.topics[reader.topic]}
    latest: dict[int, tuple[int, int]] = {}
    for number, line in reader.reads:
        place = (reader.topic, line["partition"], line["offset"])
        yield from _uncommitted(history, reader, place, number)
        before, before_line = latest.get(place[1], (-1, 0))
        if place[2] <= before:
            text = f"{reader.name} read offset {place[2]} after {before}"
            yield finding(
                OUT_OF_ORDER, _key(records.get(place), place), text, [before_line, number]
            )
        else:
            latest[place[1]] = place[2], number
    yield from _left_out(history, reader)


def _left_out(history: History, reader: Reader) -> Findings:
    """Of a compacted topic, a reader may not get a record that a later one replaces."""
    lines: dict[int, dict[int, int]] = defaultdict(dict)
    for number, line in reader.reads:
        lines[line["partition"]][line["offset"]] = number
    ends = {partition: (min(read), max(read)) for partition, read in lines.items()}
    replaced: set[str | None] = set()
    is_compacted = reader.topic in COMPACTED
    for record in reversed(history.topics[reader.topic]):
        _, partition, offset = record.place
        first, last = ends.get(partition, (offset, offset))
        if offset in (read := lines[partition]):
            replaced.add(record.key)
        elif first < offset < last and not (is_compacted and record.key in replaced):
            text = f"{reader.name} did not see {record.origin}"
            yield finding(LOST, record.key or "", text, [record.line, read[last]])


def _key(record: Record | None, place: Place) -> str:
    return (record.key if record else None) or "/".join(map(str, place))


def _uncommitted(history: History, reader: Reader, place: Place, number: int) -> Findings:
    record = history.unseen.get(place)
    if record is not None:
        text = f"{reader.name} saw {record.origin}, which is {record.outcome}"
        yield finding(UNCOMMITTED, _key(record, place), text, [record.line, number])


def _table(history: History, reader: Reader) -> Findings:
    """A table has the newest row of each key, as it was committed."""
    newest = {r.key: r for r in history.topics[reader.topic]}
    read: dict[str, tuple[int, Any]] = {
        line["key"]: (number, line["value"]) for number, line in reader.reads
    }
    for key, record in newest.items():
        if record.value is not None and (key or "") not in read:
            yield finding(LOST, key or "", f"{reader.name} has no row", [record.line])
    for key, (number, value) in read.items():
        known = newest.get(key)
        if known is None or known.value != value:
            yield _strange(history, reader, key, number, value)


def _strange(history: History, reader: Reader, key: str, number: int, value: Any) -> Any:
    """Return what a row is that is not the newest one."""
    unseen = [r for r in history.unseen.values() if r.place[0] == reader.topic and r.value == value]
    if unseen:
        text = f"{reader.name} has the row of {unseen[0].origin}, which is {unseen[0].outcome}"
        return finding(UNCOMMITTED, key, text, [unseen[0].line, number])
    lines = [record.line for record in history.topics[reader.topic] if record.key == key]
    text = f"{reader.name} does not have the newest row: {json.dumps(value)[:300]}"
    return finding(STALE, key, text, [number, *lines[-3:]])


def _set(history: History, reader: Reader) -> Findings:
    """A set has each event, by its id."""
    read = {line["id"]: number for number, line in reader.reads}
    known = {event_id: record for event_id, record in _events(history, reader.topic)}
    for event_id, record in known.items():
        if event_id not in read:
            text = f"{reader.name} did not see {event_id}"
            yield finding(LOST, record.key or "", text, [record.line])
    unseen = {_id(r): r for r in history.unseen.values() if r.place[0] == reader.topic}
    for event_id in read.keys() & unseen.keys() - known.keys():
        text = f"{reader.name} saw {event_id}, which is {unseen[event_id].outcome}"
        lines = [unseen[event_id].line, read[event_id]]
        yield finding(UNCOMMITTED, unseen[event_id].key or "", text, lines)


def _sequence(history: History, reader: Reader) -> Findings:
    """A sequence is a set that has the events of each key in their order. A repeat does not
    count.
    """
    yield from _set(history, reader)
    places: dict[str, int] = {}
    for number, line in reader.reads:
        places.setdefault(line["id"], number)
    latest: dict[str | None, int] = {}
    for event_id, record in _events(history, reader.topic):
        if (place := places.get(event_id)) is not None:
            before = latest.get(record.key, 0)
            if place < before:
                text = f"{reader.name} saw {event_id} before an earlier one"
                yield finding(OUT_OF_ORDER, record.key or "", text, [record.line, place, before])
            latest[record.key] = max(place, before)


def _events(history: History, topic: str) -> Iterator[tuple[str, Record]]:
    """Yield each event once, with its id."""
    seen: set[str] = set()
    for record in history.topics[topic]:
        event_id = _id(record)
        if event_id not in seen:
            seen.add(event_id)
            yield event_id, record


def _id(record: Record) -> str:
    """Return the id of an event; that of a dead letter is its place."""
    return record.value["event_id"] if record.value is not None else record.origin
