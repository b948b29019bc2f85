"""The row that the events of a link must give: all its events at once, in their order."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.checker.history import Connection, Record

RANK = {
    "UNKNOWN": 0,
    "CREATED": 1,
    "OPENED": 2,
    "PROCESSING": 3,
    "EXPIRED": 4,
    "CANCELLED": 5,
    "FAILED": 6,
    "PAID": 7,
}
ENDINGS = ("EXPIRED", "CANCELLED", "FAILED")
ENDED = (*ENDINGS, "PAID")
_COVERAGE = ("NONE", "UNKNOWN", "UNDERPAID", "PAID", "OVERPAID")
_ANSWERS = ("lookup", "poll", "import")
_MONEY = {"PAID", "SETTLED"}
# Every field that is judged. Those of refunds are not, and neither are times of arrival.
FIELDS = (
    *("status", "verified", "claimed_status", "times", "claims", "payment_ids", "coverage"),
    *("amount_minor", "received_minor", "currency", "registration", "provider_order_id"),
    *("closed_elsewhere", "looked_up_at", "order_id", "first_seen_at"),
)
# The anomalies that are judged; of others a row may have more or fewer.
JUDGED = frozenset(
    ("PAID_AFTER_END", "CONFLICTING_END", "UNDERPAID", "OVERPAID", "SECOND_PAYMENT", "CLAIM_DENIED")
)

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LinkState:
    """`row` has what must be in the link's row. `counted` are the events that count."""

    key: str
    row: Mapping[str, Any]
    anomalies: frozenset[str]
    counted: Sequence[Event]
    records: Sequence[Record]
    # Whether an order waits for the link, or counts it.
    counts: bool

    @property
    def status(self) -> str:
        return str(self.row["status"])

    @property
    def order(self) -> str:
        return f"{self.key.partition(':')[0]}:{self.row['order_id']}"

    @property
    def lines(self) -> list[int]:
        return [record.line for record in self.records]

    def first_at(self, *statuses: str) -> int:
        """Return when the first event with one of these statuses was received."""
        times: list[int] = [e["received_at"] for e in self.counted if e["status"] in statuses]
        return min(times)

    def amount(self) -> tuple[int | None, str | None]:
        """Return what the link was paid: what the provider states, else what is registered."""
        amount, currency, received = (
            self.row[name] for name in ("amount_minor", "currency", "received_minor")
        )
        if amount is not None and received is not None:
            amount = min(amount, received)
        registration = self.row["registration"] or {"amount_minor": None, "currency": None}
        if amount is None:
            amount, currency = registration["amount_minor"], registration["currency"]
        currency = currency or registration["currency"]
        return (None, None) if None in (amount, currency) else (amount, currency)


def link_state(key: str, records: Sequence[Record], connection: Connection) -> LinkState:
    """Return what follows from all events of a link."""
    events: list[Event] = [record.value for record in records]
    counted, held = _released(events, connection)
    verified = [event for event in counted if event["verified"]]
    times = _earliest(verified)
    claims = _earliest(event for event in counted if not event["verified"])
    status = _highest(times)
    amount, currency = _amount(verified)
    order_id, named_by = _order(key, counted, connection)
    row: dict[str, Any] = {
        "status": status,
        "verified": bool(times),
        "claimed_status": _claimed([*claims, *(event["status"] for event in held)], status),
        "times": times,
        "claims": claims,
        "payment_ids": sorted({*_values(verified, "payment_id")}),
        "coverage": _coverage(verified, status),
        "amount_minor": amount,
        "received_minor": max(_values(verified, "received_minor"), default=None),
        "currency": currency,
        "registration": latest_registration(counted),
        "provider_order_id": min(_values(verified, "order_id"), default=None),
        "closed_elsewhere": any(event["closed_elsewhere"] for event in verified),
        "looked_up_at": max(_values(_answers(counted), "received_at"), default=None),
        "first_seen_at": min(_values(events, "received_at")),
        "order_id": order_id,
    }
    counts = bool(times) and (named_by == "order" or (named_by == "link" and status == "PAID"))
    return LinkState(key, row, _anomalies(row, counted, connection), counted, records, counts)


def _released(
    events: Sequence[Event], connection: Connection
) -> tuple[Sequence[Event], Sequence[Event]]:
    """Return the events that count, in the order in which they do, and those that wait until
    something proves that the link is ours.
    """
    if not connection.shared_key:
        return events, ()
    first = next((number for number, e in enumerate(events) if _vouches(e)), None)
    until = events if first is None else events[: first + 1]
    held = [event for event in until if _proves_only_the_provider(event)]
    counted = [event for event in until if not _proves_only_the_provider(event)]
    return (counted, held) if first is None else ([*counted, *held, *events[first + 1 :]], ())


def _proves_only_the_provider(event: Event) -> bool:
    return bool(event["verified"]) and event["source"] not in (*_ANSWERS, "registration")


def _vouches(event: Event) -> bool:
    """Whether the event proves that the link is ours."""
    is_known = event["verified"] and event["status"] != "UNKNOWN"
    return bool(is_known) and not _proves_only_the_provider(event)


def _values(events: Iterable[Event], name: str) -> Iterator[Any]:
    return (event[name] for event in events if event[name] is not None)


def _answers(events: Iterable[Event]) -> Iterator[Event]:
    return (event for event in events if event["source"] in _ANSWERS)


def _earliest(events: Iterable[Event]) -> dict[str, int]:
    times: dict[str, int] = {}
    for event in events:
        status, at = event["status"], event["occurred_at"]
        at = event["received_at"] if at is None else at
        if status != "UNKNOWN":
            times[status] = min(at, times.get(status, at))
    return times


def _highest(statuses: Iterable[str]) -> str:
    return max(statuses, key=RANK.__getitem__, default="UNKNOWN")


def _claimed(claims: Iterable[str], status: str) -> str | None:
    claim = _highest(claims)
    return claim if RANK[claim] > RANK[status] else None


def _amount(verified: Iterable[Event]) -> tuple[int | None, str | None]:
    amounts = [(e["amount_minor"], e) for e in verified if e["amount_minor"] is not None]
    if not amounts:
        return None, None
    best = max(amounts, key=lambda each: (each[0], each[1]["currency"] or ""))
    return best[0], best[1]["currency"]


def _coverage(verified: Iterable[Event], status: str) -> str:
    known: list[str] = [*_values(verified, "coverage"), "PAID" if status == "PAID" else "NONE"]
    return max(known, key=_COVERAGE.index)


def latest_registration(events: Iterable[Event]) -> Any:
    """Return the latest; of two with one time the later record counts."""
    latest = None
    for registration in _values(events, "registration"):
        if latest is None or registration["registered_at"] >= latest["registered_at"]:
            latest = registration
    return latest


def _order(key: str, events: Sequence[Event], connection: Connection) -> tuple[str, str | None]:
    """Return the order of the link, and what names it: `order`, `link` for one of its own, or None
    while the link waits to learn it. An order that has counted the payment keeps the link.
    """
    order_id, named_by, was_paid = key.partition(":")[2], None, False
    for number, event in enumerate(events, 1):
        if was_paid and named_by:
            break
        was_paid = was_paid or (bool(event["verified"]) and event["status"] == "PAID")
        if was_paid or number == len(events):
            order_id, named_by = _order_after(key, events[:number], connection)
    return order_id, named_by


def _order_after(
    key: str, events: Sequence[Event], connection: Connection
) -> tuple[str, str | None]:
    own, registration = key.partition(":")[2], latest_registration(events)
    if connection.order_from == "lookup":
        named = min(_values((e for e in events if e["verified"]), "order_id"), default=None)
        if named is not None:
            return named, "order"
        if not any(_answers(events)):
            return own, None
    if connection.order_from == "registration" and registration is None:
        return own, None
    registered = registration and registration["order_id"]
    return (registered, "order") if registered is not None else (own, "link")


def _anomalies(
    row: Mapping[str, Any], counted: Sequence[Event], connection: Connection
) -> frozenset[str]:
    times, found = row["times"], set[str]()
    ends = [status for status in ENDINGS if status in times]
    if len(ends) > 1:
        found.add("CONFLICTING_END")
    if ends and "PAID" in times:
        found.add("PAID_AFTER_END")
    coverages = {event["coverage"] for event in counted if event["verified"]}
    found |= coverages & {"UNDERPAID", "OVERPAID"}
    paying = {
        event["payment_id"]
        for event in counted
        if event["verified"] and event["payment_id"] and event["payment_status"] in _MONEY
    }
    if len(paying) > 1:
        found.add("SECOND_PAYMENT")
    if _is_denied(row, counted, ends, connection):
        found.add("CLAIM_DENIED")
    return frozenset(found)


def _is_denied(
    row: Mapping[str, Any], counted: Sequence[Event], ends: Sequence[str], connection: Connection
) -> bool:
    """Whether a claim was denied and never confirmed, or can never be confirmed: iPint forbids
    lookups after an end.
    """
    answers = [*_answers(counted)]
    confirmed = {event["status"] for event in answers if event["verified"]}
    if any(denied not in confirmed for denied in _values(answers, "denies")):
        return True
    lowest = min((RANK[status] for status in ends), default=len(RANK))
    claimed = [RANK[status] for status in row["claims"] if status in ENDED]
    return connection.provider == "ipint" and any(rank > lowest for rank in claimed)
