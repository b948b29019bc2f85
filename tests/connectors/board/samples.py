"""Records as the pipeline would write them."""

import itertools
from collections.abc import Iterator
from typing import Any, cast

from connectors.board.rows import Message
from schemas import records as r
from schemas import topics
from schemas.topics import Topic

AT = 1_700_000_000_000_000


class Make:
    """Builds records with sensible fields; every message gets the next offset of its topic."""

    def __init__(self) -> None:
        self._offsets: dict[str, Iterator[int]] = {}

    def status(self, link_id: str = "link-1", **changes: Any) -> r.LinkStatus:
        record: dict[str, Any] = {
            "status": "CREATED",
            "provider": "ping",
            "link_id": link_id,
            "claimed_status": None,
            "verified": True,
            "order_id": link_id,
            "order_from": "SELF",
            "payment_id": None,
            "payment_ids": [],
            "payments": [],
            "amount_minor": 1234,
            "received_minor": None,
            "currency": "EUR",
            "coverage": "NONE",
            "anomalies": [],
            "first_seen_at": AT,
            "changed_at": AT,
            "times": {"CREATED": AT},
            "claims": {},
            "looked_up_at": None,
            "registration": None,
            "provider_order_id": None,
            "version": 1,
        }
        return cast("r.LinkStatus", record | changes)

    def event(self, event_id: str, link_id: str = "link-1", **changes: Any) -> r.LinkEvent:
        record: dict[str, Any] = {
            "event_id": event_id,
            "provider": "ping",
            "link_id": link_id,
            "status": "CREATED",
            "provider_status": "CREATED",
            "occurred_at": None,
            "received_at": AT,
            "source": "callback",
            "verified": False,
            "payment_id": None,
            "payment_status": None,
            "order_id": None,
            "amount_minor": None,
            "currency": None,
            "received_minor": None,
            "coverage": None,
            "denies": None,
            "reason": None,
            "registration": None,
            "attributes": {},
            "origin": "callbacks.ping/0/7",
        }
        return cast("r.LinkEvent", record | changes)

    def order(self, order_id: str, **changes: Any) -> r.OrderStatus:
        record: dict[str, Any] = {
            "provider": "ping",
            "order_id": order_id,
            "state": "OPEN",
            "links": [],
            "links_in_order": None,
            "closed_link_ids": [],
            "decided_at": None,
            "total_minor": None,
            "currency": None,
            "settlements": {},
            "steps": {},
            "failure": None,
            "changed_at": AT,
            "version": 1,
        }
        return cast("r.OrderStatus", record | changes)

    def order_link(self, link_id: str, **changes: Any) -> r.OrderLink:
        record: dict[str, Any] = {
            "link_id": link_id,
            "status": "PAID",
            "payment_id": "payment-1",
            "amount_minor": 1234,
            "currency": "EUR",
            "paid_at": AT,
            "settled": False,
        }
        return cast("r.OrderLink", record | changes)

    def close(self, event_id: str, order_id: str) -> r.OrderClose:
        return {
            "event_id": event_id,
            "provider": "ping",
            "order_id": order_id,
            "links": [],
            "total_minor": 1234,
            "currency": "EUR",
            "decided_at": AT,
        }

    def settlement(
        self, event_id: str, order_id: str, kind: r.SettlementKind, at: int = AT
    ) -> r.Settlement:
        return {
            "event_id": event_id,
            "provider": "ping",
            "order_id": order_id,
            "kind": kind,
            "payment_ids": ["payment-1"],
            "amount_minor": 1234,
            "currency": "EUR",
            "decided_at": at,
        }

    def anomaly(self, event_id: str, link_id: str = "link-1", at: int = AT) -> r.Anomaly:
        return {
            "event_id": event_id,
            "provider": "ping",
            "link_id": link_id,
            "kind": "UNDERPAID",
            "detail": "received 1.00 of 12.34 EUR",
            "at": at,
        }

    def notice(self, event_id: str) -> r.Notice:
        return {
            "event_id": event_id,
            "provider": "peach",
            "kind": "batch",
            "subject_id": "batch-1",
            "status": "completed",
            "attributes": {},
            "received_at": AT,
            "origin": "callbacks.peach/0/1",
        }

    def replay(self, event_id: str, letter: str = "dead-letters/0/0") -> r.Replay:
        return {
            "event_id": event_id,
            "letter": letter,
            "to": "callbacks.ping",
            "reason": "no JSON",
            "by": "ada",
            "at": AT,
        }

    def message(self, topic: Topic[Any], record: Any) -> Message:
        """`record` on `topic`: a record is encoded, bytes are taken as they are."""
        encode = topic.codec.encode if topic.codec and isinstance(record, dict) else bytes
        return self.raw(topic, encode(record))

    def raw(
        self, topic: Topic[Any], value: bytes | None, headers: dict[str, str] | None = None
    ) -> Message:
        offset = next(self._offsets.setdefault(topic.name, itertools.count()))
        sent = tuple((name, text.encode()) for name, text in (headers or {}).items())
        return Message(topic.name, 0, offset, AT // 1000 + offset, b"ping:link-1", value, sent)

    def statuses(self, *records: r.LinkStatus) -> list[Message]:
        return [self.message(topics.LINK_STATUS, record) for record in records]
