"""normalize: raw callbacks, registrations and order updates become facts in one vocabulary."""

from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Message

from connectors import tracing
from connectors.clock import micros_of
from connectors.providers import raw
from connectors.providers.base import Facts, Provider, Refusal, UnknownStatus, Unreadable
from connectors.providers.facts import UNKNOWN_EVENT, link_event
from connectors.providers.raw import Raw
from schemas import link_form, times
from schemas.codec import Codecs
from schemas.headers import Headers, headers_of
from schemas.limits import ITEM_DEAD_LETTERS
from schemas.records import Anomaly, LinkEvent, LinkRegistered, OrderEvent, Registration
from schemas.topics import (
    LINKS,
    LOOKUPS,
    NOTICES,
    ORDER_UPDATES,
    callbacks,
    message_key,
)
from streams.agents.agent import (
    Agent,
    check_identifier,
    checked_key,
    text_headers,
    trace_in,
    trace_of,
)
from streams.agents.metrics import count_unknown_event
from streams.domain.anomaly import anomaly
from streams.engine.batch import Batch, Fact


class Normalize(Agent):
    """Stateless: no record depends on another."""

    name = "normalize"

    def __init__(self, codecs: Codecs, providers: Mapping[str, Provider]) -> None:
        super().__init__(codecs)
        self._names = frozenset(providers)
        self._providers = {callbacks(name).name: known for name, known in providers.items()}

    def on_fact(self, batch: Batch, fact: Fact) -> None:
        topic = batch.topic(fact.message)
        if topic == LINKS.name:
            self._read_registration(batch, fact)
        elif topic == ORDER_UPDATES.name:
            self._read_order_update(batch, fact)
        else:
            self._read_callback(batch, fact, self._providers[topic])

    def _read_callback(self, batch: Batch, fact: Fact, provider: Provider) -> None:
        message = fact.message
        pairs, origin = headers_of(message), batch.origin(message)
        headers = text_headers(pairs)
        body, at = message.value() or b"", message.timestamp()[1]
        callback = raw.read(provider.name, body, headers, origin, at)
        trace = trace_in(pairs) if headers.keys() & {tracing.HEADER, raw.SENDER} else None
        try:
            facts = provider.read(callback)
        except UnknownStatus as error:
            batch.dead_letter(message, self.name, error)
            self.send_anomaly(batch, _unknown_status(callback, error), trace)
        else:
            self._send(batch, fact, facts, trace)
            if facts.refused:
                self._refuse(batch, fact, callback, facts.refused, trace)

    def _refuse(
        self,
        batch: Batch,
        fact: Fact,
        callback: Raw,
        refused: Sequence[Refusal],
        trace: Headers | None,
    ) -> None:
        """Dead-letter each item that cannot be read: its replay reads only this item.

        Each holds the whole record. Where there are too many, the last ones share one whose replay
        reads the whole record again: its facts have the same event ids.
        """
        for _, error in refused[:ITEM_DEAD_LETTERS]:
            batch.dead_letter(fact.message, self.name, error)
        if rest := refused[ITEM_DEAD_LETTERS:]:
            reasons = (f"{item}: {error}" for item, error in rest)
            batch.dead_letter(fact.message, self.name, Unreadable("; ".join(reasons)))
        for _, error in refused:
            if isinstance(error, UnknownStatus):
                self.send_anomaly(batch, _unknown_status(callback, error), trace)

    def _send(self, batch: Batch, fact: Fact, facts: Facts, trace: Headers | None) -> None:
        for event in facts.events:
            self.hand_on_link_event(batch, fact, event, trace)
        for payment in facts.payments:
            self.hand_on_payment(batch, fact, payment, trace)
        for notice in facts.notices:
            key = message_key(notice["provider"], notice["subject_id"] or notice["kind"])
            self.send(batch, NOTICES, key, notice, trace)
            if notice["kind"] == UNKNOWN_EVENT:
                count_unknown_event(batch, notice)
        for lookup in facts.lookups:
            key = message_key(lookup["provider"], lookup["link_id"])
            self.send(batch, LOOKUPS, key, lookup, trace)

    def _read_registration(self, batch: Batch, fact: Fact) -> None:
        if fact.message.value() is None:
            # A tombstone in the compacted topic deletes the registration, but not its events.
            return
        link = self.value(LINKS, fact)
        link_form.check(link, self._names)
        checked_key(fact, link["provider"], link["link_id"])
        at = written_at(fact.message, link["registered_at"])
        event = registration_event(link, at, batch.origin(fact.message))
        self.hand_on_link_event(batch, fact, event, trace_of(fact))

    def _read_order_update(self, batch: Batch, fact: Fact) -> None:
        update = self.value(ORDER_UPDATES, fact)
        if update["provider"] not in self._names:
            raise ValueError(f"unknown provider {update['provider']!r}")
        check_identifier(update["order_id"])
        times.check(update["at"])
        event: OrderEvent = {
            "provider": update["provider"],
            "order_id": update["order_id"],
            "link": None,
            "left_link_id": None,
            "left_for": None,
            "update": {"step": update["step"], "reason": update["reason"]},
            "at": update["at"],
        }
        self.hand_on_order_event(batch, fact, event, trace_of(fact))


def written_at(message: Message, registered_at: int) -> int:
    """Return when the record was written (microseconds). The clock of the program that registered
    the link counts only for a record without a plausible time.
    """
    at = micros_of(message.timestamp()[1])
    return at if times.is_plausible(at) else registered_at


def registration_event(link: LinkRegistered, at: int, origin: str) -> LinkEvent:
    """Return the event of a registration whose record was written `at` (microseconds): the link was
    created.
    """
    registration: Registration = {
        "order_id": link["order_id"],
        "amount_minor": link["amount_minor"],
        "currency": link["currency"],
        "expires_at": link["expires_at"],
        "links_in_order": link["links_in_order"],
        # A clock that is ahead must not keep later registrations from counting.
        "registered_at": min(link["registered_at"], at),
    }
    values: tuple[Any, ...] = tuple(registration.values())
    return link_event(
        Raw(link["provider"], b"", {}, "registration", True, at, origin),
        link["link_id"],
        "CREATED",
        "registered",
        identity=("registered", *values),
        registration=registration,
    )


def _unknown_status(callback: Raw, error: UnknownStatus) -> Anomaly:
    detail, status = f"{error} [{callback.origin}]", error.provider_status[:200]
    at = callback.received_at
    return anomaly(callback.provider, error.link_id, "UNKNOWN_STATUS", detail, at, status)
