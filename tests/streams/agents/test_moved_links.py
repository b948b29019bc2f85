"""Registrations that are changed, repeated or late, through all agents of the stage."""

from collections.abc import Iterable
from typing import Any

import pytest

from connectors.providers.facts import link_event
from connectors.providers.raw import Raw
from connectors.providers.registry import PROVIDERS
from schemas import topics
from schemas.codec import LINK_EVENT, LINK_REGISTERED
from schemas.records import LinkRegistered, OrderStatus, Status
from schemas.topics import Topic, message_key
from streams.domain.polling import Intervals
from streams.domain.rules import ProviderRules
from streams.rebuild.in_memory import InMemoryPipeline, Record
from tests.support.codecs import CODECS

# In milliseconds.
NOW = 1_767_225_600_000
INSTANCES = {name: kind(kind.Config()) for name, kind in PROVIDERS.items()}
RULES = {
    name: ProviderRules(
        order_from=provider.config.order_from, settlement=provider.settlement, can_look_up=True
    )
    for name, provider in INSTANCES.items()
}


def registered(
    link_id: str, order_id: str, *, provider: str = "peach", at: int, registered_at: int = 0
) -> Record:
    """Return a record of `links`; both times in milliseconds after `NOW`."""
    link: LinkRegistered = {
        "provider": provider,
        "link_id": link_id,
        "order_id": order_id,
        "amount_minor": 500,
        "currency": "EUR",
        "expires_at": None,
        "links_in_order": None,
        "registered_at": (NOW + (registered_at or at)) * 1000,
    }
    value = CODECS.encode(LINK_REGISTERED, link)
    return Record("links", message_key(provider, link_id), value, [], NOW + at)


def answered(
    link_id: str, status: Status, order_id: str, *, provider: str = "peach", at: int
) -> Record:
    """Return what a lookup's answer says; only Ping's names an order."""
    raw = Raw(provider, b"", {}, "lookup", True, (NOW + at) * 1000, f"callbacks.{provider}/0/{at}")
    paid: Any = {"amount_minor": 500, "currency": "EUR"} if status == "PAID" else {}
    named = order_id if provider == "ping" else None
    event = link_event(raw, link_id, status, status.lower(), order_id=named, **paid)
    key, value = message_key(provider, link_id), CODECS.encode(LINK_EVENT, event)
    return Record(topics.LINK_FACTS.name, key, value, [], NOW + at)


class Outcome:
    """What follows from the records, one after the other."""

    def __init__(self, records: Iterable[Record]) -> None:
        pipeline = InMemoryPipeline(CODECS, INSTANCES, RULES, Intervals())
        self._outputs = [output for record in records for output in pipeline.process(record)]
        self._rows = list(pipeline.rows())

    def sent(self, topic: Topic[Any]) -> list[Any]:
        return self._values(self._outputs, topic)

    def orders(self) -> dict[str, OrderStatus]:
        return {row["order_id"]: row for row in self._values(self._rows, topics.ORDERS)}

    def late(self) -> list[str]:
        """Return the links of the anomalies, which are all LATE_LINK."""
        anomalies = self.sent(topics.ANOMALIES)
        assert {anomaly["kind"] for anomaly in anomalies} <= {"LATE_LINK"}
        return [anomaly["link_id"] for anomaly in anomalies]

    def _values(self, outputs: Iterable[Any], topic: Topic[Any]) -> list[Any]:
        assert topic.schema
        return [CODECS.decode(topic.schema, o.value) for o in outputs if o.topic == topic.name]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_registration_after_the_payment_is_late_at_every_provider(provider: str) -> None:
    outcome = Outcome(
        [
            answered("L1", "PAID", "L1", provider=provider, at=1),
            registered("L1", "elsewhere", provider=provider, at=2),
            registered("L1", "elsewhere", provider=provider, at=3),
        ]
    )
    assert outcome.late() == ["L1"]
    assert [close["order_id"] for close in outcome.sent(topics.ORDER_CLOSE)] == ["L1"]
    assert outcome.orders().keys() == {"L1"}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_link_of_a_closed_order_is_late_at_every_provider(provider: str) -> None:
    outcome = Outcome(
        [
            registered("L1", "O1", provider=provider, at=1),
            answered("L1", "PAID", "O1", provider=provider, at=2),
            registered("L2", "O1", provider=provider, at=3),
            answered("L2", "CREATED", "O1", provider=provider, at=4),
        ]
    )
    assert outcome.late() == ["L2"]
    (close,) = outcome.sent(topics.ORDER_CLOSE)
    assert [link["link_id"] for link in close["links"]] == ["L1"]


def test_g4_link_that_moves_leaves_its_order_empty() -> None:
    moves = [registered("L7", "O7", at=1), registered("L7", "O8", at=2)]
    orders = Outcome(moves).orders()
    assert {order_id: row["state"] for order_id, row in orders.items()} == {
        "O7": "EMPTY",
        "O8": "OPEN",
    }
    assert orders["O7"]["moved_links"] == {"L7": "O8"}
    paid = Outcome([*moves, answered("L7", "PAID", "", at=3)])
    assert [close["order_id"] for close in paid.sent(topics.ORDER_CLOSE)] == ["O8"]
    assert (paid.orders()["O7"]["state"], paid.late()) == ("EMPTY", [])
    back = Outcome([*moves, registered("L7", "O7", at=3)]).orders()
    assert (back["O7"]["state"], back["O8"]["moved_links"]) == ("OPEN", {"L7": "O7"})


def test_g4_order_of_a_registration_that_was_replaced_before_it_came_does_not_exist() -> None:
    """Such as a dead letter that is replayed."""
    outdated = registered("L7", "O7", at=2, registered_at=1)
    outcome = Outcome(
        [registered("L7", "O8", at=2), outdated, answered("L7", "PAID", "", at=3), outdated]
    )
    assert outcome.orders().keys() == {"O8"}
    assert [close["order_id"] for close in outcome.sent(topics.ORDER_CLOSE)] == ["O8"]
    assert outcome.late() == []


def test_g4_order_closes_when_its_only_open_link_moves_away() -> None:
    records = [
        registered("L6", "O7", at=1),
        registered("L7", "O7", at=2),
        answered("L6", "PAID", "", at=3),
    ]
    assert Outcome(records).sent(topics.ORDER_CLOSE) == []
    outcome = Outcome([*records, registered("L7", "O8", at=4)])
    (close,) = outcome.sent(topics.ORDER_CLOSE)
    assert (close["order_id"], [link["link_id"] for link in close["links"]]) == ("O7", ["L6"])
    assert outcome.orders()["O7"]["moved_links"] == {"L7": "O8"}
