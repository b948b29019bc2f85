"""What must follow from the raw records on Kafka, by the pure rules alone.

The providers' `read`, the join and the fold are applied to the records in the order of the topics.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from confluent_kafka import Message

from connectors.providers.base import Provider, Unreadable
from connectors.providers.raw import Raw, read
from schemas import link_form
from schemas.codec import LINK_REGISTERED
from schemas.headers import headers_of
from schemas.records import ENDED, LinkEvent, LinkStatus, PaymentLink
from streams.agents.agent import text_headers
from streams.agents.normalize import registration_event, written_at
from streams.domain.join import join
from streams.domain.link_status import fold
from streams.domain.registrations import links_in_order
from streams.domain.rules import ProviderRules
from tests.support.codecs import CODECS

Link = tuple[str, str]
Order = tuple[str, str]
# The id of an event or notice, and the origin of its raw record.
EventOrigin = tuple[str, str]


@dataclass(slots=True)
class Expectation:
    """`waiting` are events that name only a payment. `joined` are the ids of those whose link is
    known: one event for each id goes on. `dead` are the origins of dead letters.
    """

    events: Counter[EventOrigin] = field(default_factory=Counter)
    waiting: Counter[EventOrigin] = field(default_factory=Counter)
    joined: set[str] = field(default_factory=set)
    notices: Counter[EventOrigin] = field(default_factory=Counter)
    dead: set[str] = field(default_factory=set)
    rows: dict[Link, LinkStatus] = field(default_factory=dict)

    def orders(self) -> dict[Order, list[str]]:
        """Return the orders that must be closed, with their paid links."""
        members: dict[Order, list[LinkStatus]] = {}
        for row in self.rows.values():
            open_alone = row["order_from"] == "SELF" and row["status"] != "PAID"
            if row["verified"] and row["order_from"] != "AWAITED" and not open_alone:
                members.setdefault((row["provider"], row["order_id"]), []).append(row)
        return {order: _paid(rows) for order, rows in members.items() if _may_close(rows)}


def _paid(rows: Iterable[LinkStatus]) -> list[str]:
    return sorted(row["link_id"] for row in rows if row["status"] == "PAID")


def _may_close(rows: list[LinkStatus]) -> bool:
    announced = max(links_in_order(row) or 1 for row in rows)
    ended = all(row["status"] in ENDED for row in rows)
    return ended and bool(_paid(rows)) and len(rows) >= announced


def origin_of(message: Message) -> str:
    return f"{message.topic()}/{message.partition()}/{message.offset()}"


def expect(
    raw: Mapping[str, list[Message]],
    registrations: Iterable[Message],
    providers: Mapping[str, Provider],
    rules: Mapping[str, ProviderRules],
) -> Expectation:
    """Read all that came in. `raw` has the callbacks by provider."""
    expected = Expectation()
    waiting: dict[tuple[str, str], PaymentLink] = {}
    events = [*_registrations(expected, registrations, providers)]
    expected.events.update(map(_event_origin, events))
    for name, messages in raw.items():
        for message in messages:
            events += _events(expected, waiting, providers[name], message)
    for event in events:
        link = event["provider"], event["link_id"]
        expected.rows[link] = fold(expected.rows.get(link), event, rules[event["provider"]])
    return expected


def _registrations(
    expected: Expectation, messages: Iterable[Message], providers: Mapping[str, Provider]
) -> Iterator[LinkEvent]:
    for message in messages:
        try:
            link = CODECS.decode(LINK_REGISTERED, message.value())
            link_form.check(link, providers)
        except ValueError:
            expected.dead.add(origin_of(message))
        else:
            at = written_at(message, link["registered_at"])
            yield registration_event(link, at, origin_of(message))


def _events(
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
    expected.events.update(map(_event_origin, facts.events))
    expected.notices.update((notice["event_id"], raw.origin) for notice in facts.notices)
    events = list(facts.events)
    for fact in facts.payments:
        payment = fact["provider"], fact["payment_id"]
        outcome = join(waiting.get(payment), fact)
        waiting[payment] = outcome.row
        expected.waiting.update(_event_origin(event) for event in [fact["event"]] if event)
        expected.joined.update(event["event_id"] for event in outcome.events)
        events += outcome.events
    return events


def _event_origin(event: LinkEvent) -> EventOrigin:
    return event["event_id"], event["origin"]


def _raw(provider: str, message: Message) -> Raw:
    body, at = message.value() or b"", message.timestamp()[1]
    return read(provider, body, text_headers(headers_of(message)), origin_of(message), at)
