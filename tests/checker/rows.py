"""Rows of links and orders: each follows from the one before it, and from the events."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from tests.checker.findings import LOST, OUT_OF_ORDER, WRONG_ROW, Findings, finding
from tests.checker.history import ANOMALIES, EVENTS, ORDERS, ROWS, History, Record
from tests.checker.link_state import FIELDS, JUDGED, RANK, LinkState, link_state

States = Mapping[str, LinkState]


def link_states(history: History) -> dict[str, LinkState]:
    """Return what must be in each link's row, by its key."""
    events: dict[str, list[Record]] = defaultdict(list)
    for record in history.topics[EVENTS]:
        events[f"{record.value['provider']}:{record.value['link_id']}"].append(record)
    return {
        key: link_state(key, records, history.connection(key.partition(":")[0]))
        for key, records in events.items()
    }


def check_rows(history: History, states: States) -> Findings:
    for topic in (ROWS, ORDERS):
        yield from _out_of_order(history, topic)
    yield from _going_back(history)
    newest, deleted = _newest(history)
    if history.is_whole(EVENTS):
        for key, state in states.items():
            if key not in deleted:
                yield from _differences(state, newest.get(key))
        for key in newest.keys() - states.keys():
            yield finding(WRONG_ROW, key, "a row without an event", [newest[key].line])
    yield from _unreported(history, newest)


def _newest(history: History) -> tuple[dict[str, Record], set[str]]:
    """Return the newest row of each link, and the links whose row was once deleted: a link that
    nothing vouches for is forgotten, and its next event starts a new row.
    """
    rows, deleted = dict[str, Record](), set[str]()
    for record in history.topics[ROWS]:
        key = record.key or ""
        if record.value is None:
            deleted.add(key)
            rows.pop(key, None)
        else:
            rows[key] = record
    return rows, deleted


def _out_of_order(history: History, topic: str) -> Findings:
    """Versions of a key only grow: each row is written by one who knows the one before it."""
    for before, after in _pairs(history, topic):
        known, new = before.value["version"], after.value["version"]
        if new <= known:
            text = f"in {topic} version {new} follows {known}"
            yield finding(OUT_OF_ORDER, after.key or "", text, [before.line, after.line])


def _going_back(history: History) -> Findings:
    """What a row has of statuses is never taken back."""
    for before, after in _pairs(history, ROWS):
        lost = before.value["times"].keys() - after.value["times"].keys()
        if lost or RANK[after.value["status"]] < RANK[before.value["status"]]:
            text = (
                f"{before.value['status']} became {after.value['status']}, without {sorted(lost)}"
            )
            yield finding(WRONG_ROW, after.key or "", text, [before.line, after.line])


def _pairs(history: History, topic: str) -> Iterator[tuple[Record, Record]]:
    """Yield each two rows of a key that follow one another in their partition."""
    latest: dict[tuple[int, str | None], Record] = {}
    for record in history.topics[topic]:
        place = record.place[1], record.key
        before = latest.get(place)
        if before is not None and before.value is not None and record.value is not None:
            yield before, record
        latest[place] = record


def _differences(state: LinkState, record: Record | None) -> Findings:
    if record is None:
        yield finding(LOST, state.key, "events, and no row in link-status", state.lines)
        return
    row: Mapping[str, Any] = record.value
    wrong = [
        f"{name} is {row[name]!r}, must be {state.row[name]!r}"
        for name in FIELDS
        if row[name] != state.row[name]
    ]
    kinds = JUDGED & {*row["anomalies"]}
    if kinds != state.anomalies:
        wrong.append(f"anomalies {sorted(kinds)}, must be {sorted(state.anomalies)}")
    if wrong:
        yield finding(WRONG_ROW, state.key, "; ".join(wrong), [record.line, *state.lines])


def _unreported(history: History, newest: Mapping[str, Record]) -> Findings:
    """Each anomaly of a row is an event, too."""
    if not history.is_whole(ANOMALIES):
        return
    reported = {(record.key, record.value["kind"]) for record in history.topics[ANOMALIES]}
    for key, record in newest.items():
        for kind in record.value["anomalies"]:
            if (key, kind) not in reported:
                yield finding(LOST, key, f"no anomaly {kind} was published", [record.line])
