"""Damages of a good history, one of each kind, and the finding that each must give."""

import copy
from collections import defaultdict
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from tests.checker import findings as f
from tests.checker.history import (
    ANOMALIES,
    CALLBACKS,
    CLOSES,
    EVENTS,
    NOTICES,
    ORDERS,
    PAYMENTS,
    ROWS,
    SETTLEMENTS,
    UPDATES,
)
from tests.checker.record import Line

Lines = list[Line]


class NotPossible(Exception):
    """The history has nothing that could be damaged like this."""


class Damage(NamedTuple):
    """`apply` changes the lines. Raises NotPossible."""

    apply: Callable[[Lines, Random], None]
    kind: str


def _choose(lines: Lines, random: Random, fits: Callable[[Line], bool]) -> Line:
    candidates = [line for line in lines if fits(line)]
    if not candidates:
        raise NotPossible
    return random.choice(candidates)


def _committed(*topics: str) -> Callable[[Line], bool]:
    return lambda line: (
        line["type"] == "record" and line["topic"] in topics and line["outcome"] == "committed"
    )


def _value(line: Line) -> Any:
    """Return a copy of the line's value, which the line then has."""
    line["value"] = copy.deepcopy(line["value"])
    return line["value"]


def _again(lines: Lines, line: Line, **changes: Any) -> None:
    """Add the record once more, at the end of its partition."""
    new = copy.deepcopy(line)
    new["offset"] = 1 + max(
        each["offset"]
        for each in lines
        if each["type"] == "record" and each["topic"] == line["topic"]
    )
    new["value"] |= changes
    lines.append(new)


def _drop_acknowledged(lines: Lines, random: Random) -> None:
    sent = _choose(lines, random, lambda line: line["type"] == "acknowledged")
    lines[:] = [
        line
        for line in lines
        if not (
            line["type"] == "record"
            and line["topic"] == sent["topic"]
            and sent["trace"] in line["headers"].get("traceparent", "")
        )
    ]


def _drop_effect(lines: Lines, random: Random) -> None:
    """Drop the event of a record that names its link. Of others only one waits for its link."""

    def names_its_link(line: Line) -> bool:
        return _committed(EVENTS)(line) and line["value"]["provider"] in ("ping", "ipint")

    origin = _choose(lines, random, names_its_link)["value"]["origin"]
    lines[:] = [line for line in lines if (line.get("value") or {}).get("origin") != origin]


def _drop_joined(lines: Lines, random: Random) -> None:
    """Drop an event that has waited for the link of its payment."""
    rows = [line["value"] for line in lines if _committed(PAYMENTS)(line)]
    joined = {row["payment_id"] for row in rows if row["link_id"]}
    waited = [e["event_id"] for row in rows if row["payment_id"] in joined for e in row["waiting"]]
    if not waited:
        raise NotPossible
    event_id = random.choice(waited)
    lines[:] = [line for line in lines if (line.get("value") or {}).get("event_id") != event_id]


def _drop_row(lines: Lines, random: Random) -> None:
    row = _choose(lines, random, _committed(ROWS))
    lines[:] = [
        line for line in lines if line.get("topic") != ROWS or line.get("key") != row["key"]
    ]


def _drop_anomaly(lines: Lines, random: Random) -> None:
    rows = {line["key"]: line["value"]["anomalies"] for line in lines if _committed(ROWS)(line)}

    def is_of_row(line: Line) -> bool:
        return _committed(ANOMALIES)(line) and line["value"]["kind"] in rows[line["key"]]

    lines.remove(_choose(lines, random, is_of_row))


def _drop_report(lines: Lines, random: Random) -> None:
    """Drop a step from the row of its order."""
    report = _choose(lines, random, _committed(UPDATES))
    for line in lines:
        if _committed(ORDERS)(line) and line["key"] == report["key"]:
            _value(line)["steps"].pop(report["value"]["step"], None)


def _store_refused(lines: Lines, random: Random) -> None:
    sent = _choose(lines, random, lambda line: line["type"] == "acknowledged" and "body" in line)
    lines.append({"type": "refused", "trace": sent["trace"]})


def _repeat(*topics: str) -> Callable[[Lines, Random], None]:
    def apply(lines: Lines, random: Random) -> None:
        _again(lines, _choose(lines, random, _committed(*topics)))

    return apply


def _decide_again(lines: Lines, random: Random) -> None:
    decision = _choose(lines, random, _committed(CLOSES, SETTLEMENTS))
    _again(lines, decision, decided_at=decision["value"]["decided_at"] + 1)


def _swap_versions(lines: Lines, random: Random) -> None:
    rows: dict[tuple[Any, ...], Lines] = defaultdict(list)
    for line in lines:
        if _committed(ROWS, ORDERS)(line):
            rows[line["topic"], line["partition"], line["key"]].append(line)
    several = [group for group in rows.values() if len(group) > 1]
    if not several:
        raise NotPossible
    first, second = random.sample(random.choice(several), 2)
    first["value"], second["value"] = second["value"], first["value"]


def _change_row(lines: Lines, random: Random) -> None:
    newest = {line["key"]: line for line in lines if _committed(ROWS)(line)}
    row = _value(random.choice([*newest.values()]))
    name = random.choice(("status", "amount_minor", "order_id", "times", "verified", "payment_ids"))
    row[name] = {
        "status": "FAILED" if row["status"] != "FAILED" else "PAID",
        "amount_minor": (row["amount_minor"] or 0) + 1,
        "order_id": "another",
        "times": {**row["times"], "OPENED": 1},
        "verified": not row["verified"],
        "payment_ids": [*row["payment_ids"], "another"],
    }[name]


def _take_back_status(lines: Lines, random: Random) -> None:
    """An earlier row already has the end that a later one lacks."""
    rows: dict[tuple[Any, ...], Lines] = defaultdict(list)
    for line in lines:
        if _committed(ROWS)(line):
            rows[line["partition"], line["key"]].append(line)
    several = [group for group in rows.values() if len(group) > 1]
    if not several:
        raise NotPossible
    row = _value(random.choice(several)[0])
    row["status"], row["times"] = "PAID", {**row["times"], "OPENED": 1}
    if any("OPENED" in line["value"]["times"] for line in _of(lines, row)):
        raise NotPossible


def _of(lines: Lines, row: Any) -> Lines:
    key = f"{row['provider']}:{row['link_id']}"
    rows = [line for line in lines if _committed(ROWS)(line) and line["key"] == key]
    return rows[1:]


def _change_order_row(lines: Lines, random: Random) -> None:
    newest = {line["key"]: line for line in lines if _committed(ORDERS)(line)}
    row = _value(random.choice([each for each in newest.values() if each["value"]["links"]]))
    row["links"][0]["status"] = "OPENED"


def _change_event(lines: Lines, random: Random) -> None:
    event = _value(
        _choose(
            lines,
            random,
            lambda line: (
                _committed(EVENTS)(line)
                and line["value"]["source"] == "callback"
                and line["value"]["status"] not in ("PROCESSING", "PAID", "UNKNOWN")
            ),
        )
    )
    event["status"] = "PAID"


def _invent_event(lines: Lines, random: Random) -> None:
    event = _choose(lines, random, _committed(EVENTS))
    _again(lines, event, origin=f"{CALLBACKS}ping/0/{10**6}")


def _verify_claim(lines: Lines, random: Random) -> None:
    def is_claim(line: Line) -> bool:
        if not _committed(EVENTS)(line):
            return False
        return not line["value"]["verified"] and line["value"]["provider"] != "peach"

    _value(_choose(lines, random, is_claim))["verified"] = True


def _unpaid(lines: Lines, random: Random) -> Line:
    newest = {line["key"]: line for line in lines if _committed(ROWS)(line)}
    closed = {line["key"] for line in lines if _committed(CLOSES)(line)}
    rows = [
        line
        for line in newest.values()
        if line["value"]["status"] != "PAID"
        and f"{line['value']['provider']}:{line['value']['order_id']}" not in closed
    ]
    if not rows:
        raise NotPossible
    return random.choice(rows)


def _close_unpaid(lines: Lines, random: Random) -> None:
    row, close = _unpaid(lines, random)["value"], _choose(lines, random, _committed(CLOSES))
    link = {**close["value"]["links"][0], "link_id": row["link_id"]}
    order = {"provider": row["provider"], "order_id": row["order_id"]}
    _again(lines, close, event_id="another", links=[link], **order)
    lines[-1]["key"] = f"{row['provider']}:{row['order_id']}"


def _close_too_early(lines: Lines, random: Random) -> None:
    close = _value(_choose(lines, random, _committed(CLOSES)))
    close["decided_at"] = 1


def _drop_close(lines: Lines, random: Random) -> None:
    lines.remove(_choose(lines, random, _committed(CLOSES)))


def _change_close(lines: Lines, random: Random) -> None:
    close = _value(_choose(lines, random, _committed(CLOSES)))
    if random.random() < 0.5:
        close["total_minor"] = (close["total_minor"] or 0) + 1
    else:
        close["links"][0]["payment_id"] = "another"


def _drop_settlement(lines: Lines, random: Random) -> None:
    """Drop all settlements of an order, so that none of those that must be there is."""
    chosen = _choose(lines, random, _committed(SETTLEMENTS))
    lines[:] = [
        line
        for line in lines
        if line.get("topic") != SETTLEMENTS or line.get("key") != chosen["key"]
    ]


def _change_settlement(lines: Lines, random: Random) -> None:
    settlement = _value(_choose(lines, random, _committed(SETTLEMENTS)))
    settlement["amount_minor"] = (settlement["amount_minor"] or 0) + 1


def _read(place: Line, **more: Any) -> Line:
    names = {name: place[name] for name in ("topic", "partition", "offset")}
    return {"type": "read", "reader": "service", **names, **more}


def _show_uncommitted(lines: Lines, random: Random) -> None:
    unseen = _choose(
        lines,
        random,
        lambda line: (
            line["type"] == "record" and line["topic"] == ROWS and line["outcome"] != "committed"
        ),
    )
    lines.append(_read(unseen))


def _reads(lines: Lines) -> list[Lines]:
    """Return the reads of the service, by partition."""
    partitions: dict[tuple[str, int], Lines] = defaultdict(list)
    for line in lines:
        if line["type"] == "read" and line["reader"] == "service":
            partitions[line["topic"], line["partition"]].append(line)
    return [*partitions.values()]


def _leave_out_read(lines: Lines, random: Random) -> None:
    """Leave out the newest row of a key: an earlier one may be gone by compaction."""
    newest = {line["key"]: line for line in lines if _committed(ROWS)(line)}.values()
    places = {(line["partition"], line["offset"]) for line in newest}
    inner = [
        line
        for reads in _reads(lines)
        for line in reads[1:-1]
        if line["topic"] == ROWS and (line["partition"], line["offset"]) in places
    ]
    if not inner:
        raise NotPossible
    lines.remove(random.choice(inner))


def _swap_reads(lines: Lines, random: Random) -> None:
    several = [reads for reads in _reads(lines) if len(reads) > 1]
    if not several:
        raise NotPossible
    first, second = random.sample(random.choice(several), 2)
    first["offset"], second["offset"] = second["offset"], first["offset"]


def _of_board(line: Line) -> bool:
    return bool(line["type"] == "read" and line["reader"] == "board")


def _show_old_row(lines: Lines, random: Random) -> None:
    line = _choose(lines, random, lambda line: _of_board(line) and line["topic"] == ROWS)
    row = _value(line)
    row["version"] -= 1


def _show_uncommitted_row(lines: Lines, random: Random) -> None:
    def is_unseen(line: Line) -> bool:
        return (
            line["type"] == "record"
            and line["topic"] == ROWS
            and line["outcome"] != "committed"
            and all(line["value"] != each.get("value") for each in lines if each is not line)
        )

    unseen = _choose(lines, random, is_unseen)
    for line in lines:
        if _of_board(line) and line["topic"] == ROWS and line["key"] == unseen["key"]:
            line["value"] = unseen["value"]
            return
    raise NotPossible


def _lose_on_board(lines: Lines, random: Random) -> None:
    lines.remove(_choose(lines, random, _of_board))


def _swap_webhooks(lines: Lines, random: Random) -> None:
    """Show two settlements of an order in the other sequence."""
    places = {line["id"]: line for line in lines if line["type"] == "read" and "id" in line}
    orders: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        if _committed(SETTLEMENTS)(line):
            orders[line["key"]].append(line["value"]["event_id"])
    several = [ids for ids in orders.values() if len(ids) > 1]
    if not several:
        raise NotPossible
    first, second = random.choice(several)[:2]
    places[first]["id"], places[second]["id"] = second, first


DAMAGES = {
    "an acknowledged callback or registration is gone": Damage(_drop_acknowledged, f.LOST),
    "a record has no event": Damage(_drop_effect, f.LOST),
    "an event did not reach its link": Damage(_drop_joined, f.LOST),
    "a link has no row": Damage(_drop_row, f.LOST),
    "an anomaly was not published": Damage(_drop_anomaly, f.LOST),
    "a report is not in the row of its order": Damage(_drop_report, f.LOST),
    "a refused callback is stored": Damage(_store_refused, f.REFUSED),
    "an event came again": Damage(_repeat(EVENTS), f.REPEATED),
    "a notice or an anomaly came again": Damage(_repeat(NOTICES, ANOMALIES), f.REPEATED),
    "a close or a settlement came again": Damage(_repeat(CLOSES, SETTLEMENTS), f.REPEATED),
    "a decision was made twice": Damage(_decide_again, f.DOUBLED),
    "two versions of a row are swapped": Damage(_swap_versions, f.OUT_OF_ORDER),
    "a row is changed": Damage(_change_row, f.WRONG_ROW),
    "a row takes a status back": Damage(_take_back_status, f.WRONG_ROW),
    "the row of an order is changed": Damage(_change_order_row, f.WRONG_ROW),
    "an event has another status than its record": Damage(_change_event, f.WRONG_EVENT),
    "an event has no record": Damage(_invent_event, f.WRONG_EVENT),
    "a claim counts as verified": Damage(_verify_claim, f.WRONG_EVENT),
    "a close without a paid link": Damage(_close_unpaid, f.WITHOUT_CAUSE),
    "a close before the payment": Damage(_close_too_early, f.WITHOUT_CAUSE),
    "a close is gone": Damage(_drop_close, f.MISSING_CLOSE),
    "a close is changed": Damage(_change_close, f.WRONG_CLOSE),
    "a settlement is gone": Damage(_drop_settlement, f.WRONG_SETTLEMENT),
    "a settlement is changed": Damage(_change_settlement, f.WRONG_SETTLEMENT),
    "a reader saw an aborted record": Damage(_show_uncommitted, f.UNCOMMITTED),
    "a reader did not see a record": Damage(_leave_out_read, f.LOST),
    "a reader saw two records in the other order": Damage(_swap_reads, f.OUT_OF_ORDER),
    "a table has an old row": Damage(_show_old_row, f.STALE),
    "a table has an aborted row": Damage(_show_uncommitted_row, f.UNCOMMITTED),
    "a table or a set lacks something": Damage(_lose_on_board, f.LOST),
    "webhooks came in the other order": Damage(_swap_webhooks, f.OUT_OF_ORDER),
}
