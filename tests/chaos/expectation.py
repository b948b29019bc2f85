"""What must be known, by the pure rules alone: the providers' `read`, the join and the fold.

They are applied to the raw records on Kafka, in whatever order those stand there."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from confluent_kafka import Message

from connectors.provider import Provider, Raw, Unreadable
from connectors.sandbox.plan import SETTLED_AS
from schemas import codec
from schemas.records import (
    ENDED,
    LinkEvent,
    LinkRegistered,
    LinkStatus,
    PaymentLink,
    SettlementKind,
    Source,
    Status,
)
from streams.domain.joining import join
from streams.domain.link import fold
from streams.domain.rules import ProviderRules

Link = tuple[str, str]
Order = tuple[str, str]
# An event or notice by its id, and the raw record it comes from.
Told = tuple[str, str]


@dataclass(slots=True)
class Expectation:
    """`joined` are the ids of events that name only a payment, once its link is known: of those
    that are `waiting` for it, one for each id goes on.
    """

    events: Counter[Told] = field(default_factory=Counter)
    waiting: Counter[Told] = field(default_factory=Counter)
    joined: set[str] = field(default_factory=set)
    notices: Counter[Told] = field(default_factory=Counter)
    dead: set[str] = field(default_factory=set)
    rows: dict[Link, LinkStatus] = field(default_factory=dict)

    def orders(self) -> dict[Order, list[str]]:
        """The orders that must be closed, with their paid links."""
        members: dict[Order, list[LinkStatus]] = {}
        for row in self.rows.values():
            alone = row["order_from"] == "SELF" and row["status"] != "PAID"
            if row["verified"] and row["order_from"] != "AWAITED" and not alone:
                members.setdefault((row["provider"], row["order_id"]), []).append(row)
        return {order: _paid(rows) for order, rows in members.items() if _may_close(rows)}


def _paid(rows: Iterable[LinkStatus]) -> list[str]:
    return sorted(row["link_id"] for row in rows if row["status"] == "PAID")


def _may_close(rows: list[LinkStatus]) -> bool:
    registrations = [row["registration"] for row in rows if row["registration"]]
    announced = max((r["links_in_order"] or 1 for r in registrations), default=1)
    ended = all(row["status"] in ENDED for row in rows)
    return ended and bool(_paid(rows)) and len(rows) >= announced


def settlements(provider: Provider) -> tuple[frozenset[SettlementKind], frozenset[SettlementKind]]:
    """The kinds of settlement that a closed order must get, and may get besides."""
    return SETTLED_AS[provider.settlement]


def headers_of(message: Message) -> dict[str, str]:
    pairs = cast("list[tuple[str, bytes]]", message.headers() or [])
    return {name: value.decode("latin-1") for name, value in pairs}


def origin_of(message: Message) -> str:
    return f"{message.topic()}/{message.partition()}/{message.offset()}"


def expect(
    raw: Mapping[str, list[Message]],
    registrations: Iterable[Message],
    providers: Mapping[str, Provider],
    rules: Mapping[str, ProviderRules],
) -> Expectation:
    """Reads all that came in. `raw` by provider."""
    expected = Expectation()
    waiting: dict[tuple[str, str], PaymentLink] = {}
    told: list[LinkEvent] = [_registered(message) for message in registrations]
    expected.events.update(_told(event) for event in told)
    for name, messages in raw.items():
        for message in messages:
            told += _read(expected, waiting, providers[name], message)
    for event in told:
        link = event["provider"], event["link_id"]
        expected.rows[link] = fold(expected.rows.get(link), event, rules[event["provider"]])
    return expected


def _read(
    expected: Expectation,
    waiting: dict[tuple[str, str], PaymentLink],
    provider: Provider,
    message: Message,
) -> list[LinkEvent]:
    raw = _raw(provider.name, message)
    try:
        facts = provider.read(raw)
    except Unreadable:
        expected.dead.add(raw.origin)
        return []
    expected.events.update(map(_told, facts.events))
    expected.notices.update((notice["event_id"], raw.origin) for notice in facts.notices)
    events = list(facts.events)
    for fact in facts.payments:
        payment = fact["provider"], fact["payment_id"]
        joined = join(waiting.get(payment), fact)
        waiting[payment] = joined.row
        expected.waiting.update(_told(event) for event in [fact["event"]] if event)
        expected.joined.update(event["event_id"] for event in joined.events)
        events += joined.events
    return events


def _told(event: LinkEvent) -> Told:
    return event["event_id"], event["origin"]


def _raw(provider: str, message: Message) -> Raw:
    headers = headers_of(message)
    return Raw(
        provider=provider,
        body=message.value() or b"",
        headers=headers,
        source=cast("Source", headers["source"]),
        verified=headers["verified"] == "1",
        received_at=int(headers["received-at"]) * 1000,
        origin=origin_of(message),
        link_id=headers.get("lookup-link"),
        claimed_status=cast("Status | None", headers.get("lookup-claim")),
        final="lookup-final" in headers,
    )


def _registered(message: Message) -> LinkEvent:
    link: LinkRegistered = codec.LINK_REGISTERED.decode(message.value())
    names = ("order_id", "amount_minor", "currency", "expires_at", "links_in_order")
    said: Any = {name: link[name] for name in names}  # type: ignore[literal-required]
    raw = Raw(
        provider=link["provider"],
        body=b"",
        headers={},
        source="registration",
        verified=True,
        received_at=link["registered_at"],
        origin=origin_of(message),
    )
    identity = ("registered", *said.values())
    return raw.event(link["link_id"], "CREATED", "registered", registration=said, identity=identity)
