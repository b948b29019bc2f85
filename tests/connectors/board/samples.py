"""Records as the pipeline writes them."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

from connectors.board.database.projection import Batch, Message
from connectors.board.database.store import Store
from connectors.board.feed import writer
from schemas import codec, topics
from schemas import records as r
from schemas.codec import Schema
from schemas.payouts import Reconciliation
from schemas.refund_records import LinkRefund
from schemas.topics import Topic
from tests.support.codecs import CODECS

R = TypeVar("R")
AT = 1_700_000_000_000_000
_BLANK: dict[str, Any] = {
    "string": "",
    "boolean": False,
    "int": 0,
    "long": 0,
    "array": [],
    "map": {},
}


def record(schema: Schema[R], **values: Any) -> R:
    """A record with these values. Other fields are null or empty, times are `AT`."""
    blank = {field["name"]: _blank(field["type"]) for field in schema.json["fields"]}
    return cast(R, blank | values)


def _blank(kind: Any) -> Any:
    if isinstance(kind, list):
        return None
    if isinstance(kind, str):
        return _BLANK.get(kind)
    return AT if "logicalType" in kind else _BLANK.get(kind["type"])


class Make:
    """Builds records of one link and one order; every message gets the next offset of its topic."""

    def __init__(self) -> None:
        self._offsets: dict[str, Iterator[int]] = {}

    def status(self, link_id: str = "link-1", **changes: Any) -> r.LinkStatus:
        fields = {
            **{"status": "CREATED", "provider": "ping", "link_id": link_id, "verified": True},
            **{"order_id": link_id, "order_from": "SELF", "coverage": "NONE"},
            **{"amount_minor": 1234, "currency": "EUR", "times": {"CREATED": AT}, "version": 1},
        }
        return record(codec.LINK_STATUS, **fields | changes)

    def refund(self, refund_id: str, **changes: Any) -> LinkRefund:
        refund: Any = {
            **{"refund_id": refund_id, "kind": "REFUND", "state": "EXECUTED", "reason": None},
            **{"payment_id": "payment-1", "amount_minor": 234, "currency": "EUR"},
            **{"times": {"EXECUTED": AT}},
        }
        link_refund: LinkRefund = refund | changes
        return link_refund

    def registration(self, **changes: Any) -> r.Registration:
        registration: Any = {
            **{"order_id": None, "amount_minor": None, "currency": "EUR", "expires_at": None},
            **{"links_in_order": None, "registered_at": AT},
        }
        made: r.Registration = registration | changes
        return made

    def registered(
        self, event_id: str, registration: r.Registration, **changes: Any
    ) -> r.LinkEvent:
        fields: dict[str, Any] = {"source": "registration", "provider_status": "registered"}
        return self.event(event_id, registration=registration, verified=True, **fields, **changes)

    def event(self, event_id: str, link_id: str = "link-1", **changes: Any) -> r.LinkEvent:
        fields = {
            **{"event_id": event_id, "provider": "ping", "link_id": link_id, "source": "callback"},
            **{"status": "CREATED", "provider_status": "CREATED", "origin": "callbacks.ping/0/7"},
        }
        return record(codec.LINK_EVENT, **fields | changes)

    def order(self, order_id: str, **changes: Any) -> r.OrderStatus:
        fields = {"provider": "ping", "order_id": order_id, "state": "OPEN", "version": 1}
        return record(codec.ORDER_STATUS, **fields | changes)

    def order_link(self, link_id: str, **changes: Any) -> r.OrderLink:
        link: Any = {
            **{"link_id": link_id, "status": "PAID", "payment_id": "payment-1", "settled": False},
            **{"amount_minor": 1234, "currency": "EUR", "paid_at": AT, "awaits_details": False},
            **{"links_in_order": None, "closed_elsewhere": False},
        }
        order_link: r.OrderLink = link | changes
        return order_link

    def close(self, event_id: str, order_id: str) -> r.OrderClose:
        name = {"event_id": event_id, "provider": "ping", "order_id": order_id}
        return record(codec.ORDER_CLOSE, **name, total_minor=1234, currency="EUR")

    def correction(self, event_id: str, order_id: str, corrects: str) -> r.OrderCorrection:
        name = {"event_id": event_id, "provider": "ping", "order_id": order_id}
        amount = {"total_minor": 1234, "currency": "EUR"}
        return record(codec.ORDER_CORRECTION, **name, **amount, corrects=[corrects], number=1)

    def settlement(
        self, event_id: str, order_id: str, kind: r.SettlementKind, at: int = AT
    ) -> r.Settlement:
        fields = {
            **{"event_id": event_id, "provider": "ping", "order_id": order_id, "kind": kind},
            **{"payment_ids": ["payment-1"], "amount_minor": 1234, "currency": "EUR"},
        }
        return record(codec.SETTLEMENT, **fields, decided_at=at)

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
        fields = {"event_id": event_id, "provider": "peach", "kind": "batch"}
        subject = {"subject_id": "batch-1", "status": "completed", "origin": "callbacks.peach/0/1"}
        return record(codec.NOTICE, **fields, **subject)

    def refused(self, reason: str, number: int, edge: str = "e1", **changes: Any) -> Any:
        fields = {"edge": edge, "provider": "ping", "answer": 401, "reason": reason}
        fields |= {"event_id": f"{edge}-{reason}-{number}", "number": number}
        return record(codec.REFUSED_CALLBACKS, **fields | changes)

    def replay(self, event_id: str, dead_letter: str = "dead-letters/0/0") -> r.Replay:
        name = {"event_id": event_id, "dead_letter": dead_letter, "target": "callbacks.ping"}
        return record(codec.REPLAY, **name, reason="no JSON", by="ada")

    def reconciled(
        self, day: str = "2025-11-01", *, differences: Sequence[str] = (), **changes: Any
    ) -> Reconciliation:
        """A day with a missing order for each of `differences`."""
        amounts = {"closed_minor": 1234, "gross_minor": 1200, "fee_minor": 24, "net_minor": 1176}
        sums = {"currency": "EUR", "refunded_minor": 0, **amounts}
        rows = [
            {
                **{"outcome": "MISSING", "subject": order_id, "order_id": order_id, **sums},
                **{"payout_ids": [order_id], "detail": f"no known payout has {order_id}"},
            }
            for order_id in differences
        ]
        fields = {
            **{"event_id": f"{day}-{len(rows)}", "provider": "ping", "day": day, "matched": 3},
            **{"missing": len(rows), "differences": rows, "sums": [sums]},
            "payouts": [{"payout_id": "B1", "currency": "EUR", "lines": 3, "net_minor": 1176}],
        }
        return record(codec.RECONCILIATION, **fields | changes)

    def message(self, topic: Topic[Any], record: Any) -> Message:
        """`record` on `topic`: a record is encoded, bytes stay as they are."""
        if topic.schema and isinstance(record, dict):
            record = CODECS.encode(topic.schema, record)
        return self.raw(topic, record)

    def raw(
        self, topic: Topic[Any], value: bytes | None, headers: dict[str, str] | None = None
    ) -> Message:
        offset = next(self._offsets.setdefault(topic.name, itertools.count()))
        pairs = tuple((name, text.encode()) for name, text in (headers or {}).items())
        return Message(topic.name, 0, offset, AT // 1000 + offset, b"ping:link-1", value, pairs)

    def statuses(self, *records: r.LinkStatus) -> list[Message]:
        return [self.message(topics.LINK_STATUS, record) for record in records]


def save(store: Store, messages: Sequence[Message]) -> Batch:
    """Store the messages as the board does."""
    return writer.store_messages(store, CODECS, messages)
