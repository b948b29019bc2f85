"""Valid events for tests: each fits its schema, and has the event id that the pipeline derives.

Money is in minor units, times are in microseconds, UTC. A value that does not fit the schema raises
BadRecord.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, cast

from connectors.providers.facts import Details, link_event
from connectors.providers.raw import Raw
from schemas import codec, times
from schemas.codec import BadRecord, Codecs, Schema
from schemas.ids import event_id
from schemas.records import (
    Anomaly,
    AnomalyKind,
    ClosedLink,
    LinkStatus,
    OrderClose,
    OrderCorrection,
    Registration,
    Settlement,
    SettlementKind,
    Status,
)
from schemas.refund_records import LinkRefund, Refund, RefundKind, RefundState
from streams.domain.amounts import total_of
from streams.domain.anomaly import anomaly as anomaly_of
from streams.domain.link_status import fold
from streams.domain.refunds import derive_money
from streams.domain.rules import ProviderRules

T = TypeVar("T")

# 2026-01-01 12:00:00 UTC.
AT = 1_767_268_800_000_000
_CODECS = Codecs()


def checked(schema: Schema[T], record: T) -> T:
    """Return the record as a consumer gets it. Raises BadRecord if that would be another one."""
    read = _CODECS.decode(schema, _CODECS.encode(schema, record))
    if read != record:
        raise BadRecord(f"not a {schema.full_name}: {record} would be read as {read}")
    return read


def closed_link(
    link_id: str = "L1",
    amount_minor: int | None = 1200,
    currency: str | None = "SEK",
    *,
    payment_id: str | None = "P1",
    paid_at: int | None = AT,
) -> ClosedLink:
    """Return a paid link of an order. Without an amount it has no currency."""
    return {
        "link_id": link_id,
        "payment_id": payment_id,
        "amount_minor": amount_minor,
        "currency": None if amount_minor is None else currency,
        "paid_at": paid_at,
    }


def order_close(
    order_id: str = "O1",
    amount_minor: int | None = 1200,
    currency: str = "SEK",
    *,
    provider: str = "ping",
    links: Sequence[ClosedLink] | None = None,
    decided_at: int = AT,
) -> OrderClose:
    """Return the close of an order with one paid link, or with `links`. Its total is their sum, or
    None if an amount is not known or the currencies differ.
    """
    paid = [closed_link(f"{order_id}-L1", amount_minor, currency)] if links is None else [*links]
    with _whole_numbers():
        total, of_currency = total_of(paid)
    times.check(decided_at)
    record: OrderClose = {
        "event_id": event_id("order-close", provider, order_id),
        "provider": provider,
        "order_id": order_id,
        "links": paid,
        "total_minor": total,
        "currency": of_currency,
        "decided_at": decided_at,
    }
    return checked(codec.ORDER_CLOSE, record)


def settlement(
    close: OrderClose | None = None,
    kind: SettlementKind = "EXPECTED",
    *,
    decided_at: int = AT,
) -> Settlement:
    """Return a settlement of a closed order; by default of `order_close()`."""
    close = close or order_close()
    provider, order_id = close["provider"], close["order_id"]
    payments = {link["payment_id"] for link in close["links"] if link["payment_id"] is not None}
    times.check(decided_at)
    record: Settlement = {
        "event_id": _settlement_id(close, kind),
        "provider": provider,
        "order_id": order_id,
        "kind": kind,
        "payment_ids": sorted(payments),
        "amount_minor": close["total_minor"],
        "currency": close["currency"],
        "decided_at": decided_at,
    }
    return checked(codec.SETTLEMENT, record)


def order_correction(
    close: OrderClose,
    *amounts_minor: int,
    currency: str = "SEK",
    number: int = 1,
    settlements: Collection[SettlementKind] = (),
    decided_at: int = AT,
) -> OrderCorrection:
    """Return the correction of a close, with an amount for each of its links, and of its
    settlements of the kinds `settlements`. Raises ValueError for another number of amounts.
    """
    pairs = zip(close["links"], amounts_minor, strict=True)
    links: list[ClosedLink] = [
        {**link, "amount_minor": amount, "currency": currency} for link, amount in pairs
    ]
    with _whole_numbers():
        total, of_currency = total_of(links)
    times.check(decided_at)
    record: OrderCorrection = {
        "event_id": event_id("order-correction", close["provider"], close["order_id"], number),
        "provider": close["provider"],
        "order_id": close["order_id"],
        "corrects": [close["event_id"], *(_settlement_id(close, kind) for kind in settlements)],
        "number": number,
        "links": links,
        "total_minor": total,
        "currency": of_currency,
        "decided_at": decided_at,
    }
    return checked(codec.ORDER_CORRECTION, record)


def refund(
    refund_id: str = "R1",
    amount_minor: int | None = 500,
    currency: str = "SEK",
    *,
    kind: RefundKind = "REFUND",
    state: RefundState = "EXECUTED",
    provider: str = "ping",
    link_id: str = "O1-L1",
    order_id: str | None = "O1",
    payment_id: str | None = "P1",
    paid_minor: int | None = 1200,
    reason: str | None = None,
    at: int = AT,
) -> Refund:
    """Return the only refund of a link that was paid with `paid_minor`. What was refunded, what is
    disputed and what remains follows. `paid_minor` is None if it is not known.
    """
    of_currency = None if amount_minor is None else currency
    identity = (provider, link_id, refund_id, kind, state, amount_minor, of_currency)
    entry: LinkRefund = {
        "refund_id": refund_id,
        "kind": kind,
        "state": state,
        "payment_id": payment_id,
        "amount_minor": amount_minor,
        "currency": of_currency,
        "reason": reason,
        "times": {state: at},
    }
    with _whole_numbers():
        money = _money_after(entry, paid_minor, currency)
    times.check(at)
    record: Refund = {
        "event_id": event_id("refund", *identity),
        "provider": provider,
        "link_id": link_id,
        "order_id": order_id,
        "refund_id": refund_id,
        "kind": kind,
        "state": state,
        "payment_id": payment_id,
        "amount_minor": amount_minor,
        "currency": of_currency,
        "reason": reason,
        "occurred_at": at,
        "refunded_minor": money["refunded_minor"],
        "disputed_minor": money["disputed_minor"],
        "net_minor": money["net_minor"],
        "at": at,
    }
    return checked(codec.REFUND, record)


def _money_after(refund: LinkRefund, paid_minor: int | None, currency: str) -> LinkStatus:
    """Return the part of a paid link's row that is about money, with one refund."""
    row = {
        "status": "PAID",
        "refunds": [refund],
        "payments": [],
        "amount_minor": paid_minor,
        "received_minor": None,
        "currency": currency,
    }
    money = cast("LinkStatus", row)
    derive_money(money)
    return money


def link_status(
    link_id: str = "O1-L1",
    status: Status = "PAID",
    amount_minor: int | None = 1200,
    currency: str = "SEK",
    *,
    provider: str = "ping",
    order_id: str | None = "O1",
    payment_id: str | None = "P1",
    at: int = AT,
) -> LinkStatus:
    """Return the row of a link that was registered, and then proven to have `status`, by rules
    without a provider's extras. Without `order_id` the link is its own order.
    """
    of_currency = None if amount_minor is None else currency
    registration: Registration = {
        "order_id": order_id,
        "amount_minor": amount_minor,
        "currency": of_currency,
        "expires_at": None,
        "links_in_order": None,
        "registered_at": at,
    }
    details: Details = {
        "payment_id": payment_id,
        "amount_minor": amount_minor,
        "currency": of_currency,
    }
    times.check(at)
    registered = Raw(provider, b"", {}, "registration", True, at, "links/0/0")
    proven = Raw(provider, b"", {}, "lookup", True, at, f"lookups.{provider}/0/0")
    created = link_event(registered, link_id, "CREATED", "registered", registration=registration)
    row = fold(None, created, ProviderRules())
    row = fold(row, link_event(proven, link_id, status, status.lower(), **details), ProviderRules())
    return checked(codec.LINK_STATUS, row)


def anomaly(
    kind: AnomalyKind = "UNDERPAID",
    link_id: str = "O1-L1",
    detail: str = "1000 of 1200 SEK received",
    *identity: str,
    provider: str = "ping",
    at: int = AT,
) -> Anomaly:
    """Return an anomaly of a link; `identity` tells two of one kind apart."""
    times.check(at)
    return checked(codec.ANOMALY, anomaly_of(provider, link_id, kind, detail, at, *identity))


@contextmanager
def _whole_numbers() -> Iterator[None]:
    """Refuse amounts that cannot be added up; all other records that do not fit are `checked`."""
    try:
        yield
    except TypeError as error:
        raise BadRecord(f"amounts are whole numbers of minor units: {error}") from error


def _settlement_id(close: OrderClose, kind: SettlementKind) -> str:
    return event_id("settlement", close["provider"], close["order_id"], kind)
