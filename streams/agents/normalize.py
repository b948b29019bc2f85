"""normalize: raw callbacks, registrations and order updates become facts in one vocabulary."""

from collections.abc import Mapping

from confluent_kafka import Message

from connectors import recorded, tracing
from connectors.provider import Facts, Provider, Raw, UnknownWord
from schemas import codec, topics
from schemas.ids import event_id
from schemas.records import Anomaly, LinkEvent, LinkRegistered, OrderEvent
from schemas.topics import message_key
from streams.agents.messages import (
    check_key,
    place,
    send_anomaly,
    send_link_event,
    text_headers,
    trace,
    with_event_id,
)
from streams.engine.batch import Batch, Headers


class Normalize:
    """Stateless: what a record says does not depend on any other."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._raw = {topics.callbacks(name).name: provider for name, provider in providers.items()}

    def __call__(self, batch: Batch, message: Message) -> None:
        """Sends the facts in one record of any of the inputs."""
        origin, topic = batch.origin(message), batch.topic(message)
        if topic == topics.LINKS.name:
            self._registered(batch, message, origin)
        elif topic == topics.ORDER_UPDATES.name:
            _step_reached(batch, message)
        else:
            self._called_back(batch, message, self._raw[topic], origin)

    def _called_back(self, batch: Batch, message: Message, provider: Provider, origin: str) -> None:
        body, at = message.value() or b"", message.timestamp()[1]
        raw = recorded.read(provider.name, body, text_headers(message), origin, at)
        # Its headers are gone through once more only where there is something to find.
        traced = trace(message) if tracing.HEADER in raw.headers else None
        try:
            facts = provider.read(raw)
        except UnknownWord as error:
            batch.dead_letter(message, error)
            send_anomaly(batch, _unknown_status(raw, error), traced)
            return
        _send_facts(batch, facts, traced)

    def _registered(self, batch: Batch, message: Message, origin: str) -> None:
        if message.value() is None:
            # A tombstone in the compacted topic: the registration is forgotten, the facts are not.
            return
        link = codec.LINK_REGISTERED.decode(message.value())
        _, key = place(message)
        check_key(key, message_key(link["provider"], link["link_id"]))
        send_link_event(batch, _registration(link, origin), trace(message))


def _send_facts(batch: Batch, facts: Facts, traced: Headers | None) -> None:
    for event in facts.events:
        send_link_event(batch, event, traced)
    for fact in facts.payments:
        key = message_key(fact["provider"], fact["payment_id"])
        batch.send(topics.PAYMENT_EVENTS.name, key, codec.PAYMENT_EVENT.encode(fact), traced)
    for notice in facts.notices:
        key = message_key(notice["provider"], notice["subject_id"] or notice["kind"])
        headers = with_event_id(notice["event_id"], traced)
        batch.send(topics.NOTICES.name, key, codec.NOTICE.encode(notice), headers)
    for question in facts.questions:
        key = message_key(question["provider"], question["link_id"])
        batch.send(topics.LOOKUPS.name, key, codec.LOOKUP_REQUEST.encode(question), traced)


def _registration(link: LinkRegistered, origin: str) -> LinkEvent:
    """A registration is the first thing known of a link: it was created."""
    raw = Raw(
        provider=link["provider"],
        body=b"",
        headers={},
        source="registration",
        verified=True,
        received_at=link["registered_at"],
        origin=origin,
    )
    said = (
        link["order_id"],
        link["amount_minor"],
        link["currency"],
        link["expires_at"],
        link["links_in_order"],
    )
    return raw.event(
        link["link_id"],
        "CREATED",
        "registered",
        identity=("registered", *said),
        registration={
            "order_id": link["order_id"],
            "amount_minor": link["amount_minor"],
            "currency": link["currency"],
            "expires_at": link["expires_at"],
            "links_in_order": link["links_in_order"],
        },
    )


def _unknown_status(raw: Raw, error: UnknownWord) -> Anomaly:
    return {
        "event_id": event_id(
            "anomaly", raw.provider, error.link_id, "UNKNOWN_STATUS", error.word[:200]
        ),
        "provider": raw.provider,
        "link_id": error.link_id,
        "kind": "UNKNOWN_STATUS",
        "detail": f"{error} [{raw.origin}]",
        "at": raw.received_at,
    }


def _step_reached(batch: Batch, message: Message) -> None:
    update = codec.ORDER_UPDATE.decode(message.value())
    key = message_key(update["provider"], update["order_id"])
    event: OrderEvent = {
        "provider": update["provider"],
        "order_id": update["order_id"],
        "link": None,
        "left_link_id": None,
        "links_in_order": None,
        "update": {"step": update["step"], "reason": update["reason"]},
        "at": update["at"],
    }
    batch.send(topics.ORDER_EVENTS.name, key, codec.ORDER_EVENT.encode(event), trace(message))
