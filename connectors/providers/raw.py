"""A raw record of `callbacks.{provider}`, and the headers that it is written and read with.

HTTP headers are latin-1 text. Our own text in a header is UTF-8.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast, get_args

from connectors.clock import micros_now, micros_of
from connectors.providers import content
from schemas import ids
from schemas.headers import Headers
from schemas.records import LookupRequest, Source, Status
from schemas.refund_records import RefundKind, RefundRef

# The header with the sender of an unsigned callback, as a keyed hash.
SENDER = "sender"
# The header of a dead letter that is about one item of its body, and of its replay.
ITEM = "item"
# The header of an imported answer that says that the order of a paid link was closed before.
CLOSED_ELSEWHERE = "closed-elsewhere"
_LONGEST_SENDER = 64
_SOURCES = frozenset({"callback", "lookup", "poll", "replay", "import"})


@dataclass(frozen=True, slots=True)
class Raw:
    """A record of `callbacks.{provider}`: a callback, or the answer to a lookup."""

    provider: str
    body: bytes
    headers: Mapping[str, str]
    source: Source
    verified: bool
    # Microseconds, UTC.
    received_at: int
    # topic/partition/offset, without the topic prefix.
    origin: str
    # The rest is set on answers only: what the lookup asked for (see `LookupRequest`).
    link_id: str | None = None
    claimed_status: Status | None = None
    # True if this answer is the last word on the claim: if it does not confirm, it denies. Of a
    # refund, if it does not tell the amount, none is known.
    final: bool = False
    # The HTTP status of the answer.
    lookup_status: str = "200"
    # The only item of the body to read: the others were read when the record came first.
    item: str | None = None
    # The refund whose amount the lookup asked for.
    refund: RefundRef | None = None
    # Whether, if the link is paid, its order was closed before the import.
    closed_elsewhere: bool = False


def headers(provider: str, source: Source, verified: bool, content_type: str) -> Headers:
    """Return the headers of a raw record that is received now."""
    return [
        ("provider", provider.encode()),
        ("source", source.encode()),
        ("verified", b"1" if verified else b"0"),
        ("received-at", b"%d" % (micros_now() // 1000)),
        ("content-type", content_type.encode("latin-1")),
        ("callback-id", os.urandom(16).hex().encode()),
    ]


def sender(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """Return the sender of the callback that a record follows from, or ""."""
    senders = (value or b"" for name, value in headers if name == SENDER)
    return next(senders, b"")[:_LONGEST_SENDER].decode("latin-1")


def answer_headers(request: LookupRequest, status: int, final: bool) -> Headers:
    """Return the headers of the answer to a lookup that is received now.

    `status` is the HTTP status. `final` marks the last word on the claimed status, or on the amount
    of a refund.
    """
    source: Source = "poll" if request["reason"] == "POLL" else "lookup"
    result = [
        *headers(request["provider"], source, True, "application/json"),
        ("lookup-link", request["link_id"].encode()),
        ("lookup-reason", request["reason"].encode()),
        ("lookup-status", b"%d" % status),
    ]
    if (ref := request["refund"]) is not None:
        names = (ref["kind"], ref["refund_id"], ref["payment_id"])
        result.append(("lookup-refund", json.dumps(names).encode()))
    claimed = request["claimed_status"]
    if claimed:
        result.append(("lookup-claim", claimed.encode()))
    if final and (claimed or ref is not None):
        result.append(("lookup-final", b"1"))
    return result


def import_headers(provider: str, link_id: str, status: int, *, closed_elsewhere: bool) -> Headers:
    """Return the headers of the answer about an imported link that is received now. `status` is
    the HTTP status. `closed_elsewhere`: if the link is paid, its order was closed before.
    """
    result = [
        *headers(provider, "import", True, "application/json"),
        ("lookup-link", link_id.encode()),
        ("lookup-status", b"%d" % status),
    ]
    return [*result, (CLOSED_ELSEWHERE, b"1")] if closed_elsewhere else result


def read(provider: str, body: bytes, headers: Mapping[str, str], origin: str, at: int) -> Raw:
    """Return the raw record with these headers, its body decoded. `at` is the record's own time, in
    milliseconds. Raises BadContent.
    """
    source = headers.get("source", "callback")
    link_id = headers.get("lookup-link")
    return Raw(
        provider=provider,
        body=content.decode(body, headers),
        headers=headers,
        source=cast("Source", source) if source in _SOURCES else "UNKNOWN",
        verified=headers.get("verified") == "1",
        received_at=_received_at(headers.get("received-at", ""), at),
        origin=origin,
        link_id=None if link_id is None else link_id.encode("latin-1").decode(errors="replace"),
        claimed_status=cast("Status | None", headers.get("lookup-claim")),
        final=headers.get("lookup-final") == "1",
        lookup_status=headers.get("lookup-status", "200"),
        item=headers.get(ITEM),
        refund=_refund(headers["lookup-refund"]) if "lookup-refund" in headers else None,
        closed_elsewhere=headers.get(CLOSED_ELSEWHERE) == "1",
    )


def _refund(header: str) -> RefundRef | None:
    """Return the refund that a lookup asked about, or None if another program wrote the header."""
    try:
        kind, refund_id, payment_id = json.loads(header)
    except (ValueError, TypeError):
        return None
    if kind not in get_args(RefundKind) or not ids.is_identifier(refund_id):
        return None
    known = payment_id if ids.is_identifier(payment_id) else None
    return {"refund_id": refund_id, "kind": kind, "payment_id": known}


def _received_at(header: str, at: int) -> int:
    """Return microseconds, from the header (milliseconds) or else from the record's own time."""
    valid = header.isascii() and header.isdigit() and len(header) < 15
    return micros_of(int(header) if valid else at)
