"""A raw record of `callbacks.{provider}`: the headers it is written with, and what they say.

Header texts are latin-1, as HTTP has them; what is our own in them is UTF-8.
"""

import uuid
from collections.abc import Mapping
from typing import cast

from connectors.clock import micros_now
from connectors.provider import Raw
from schemas.records import LookupRequest, Source, Status

Headers = list[tuple[str, bytes]]

_SOURCES = frozenset({"callback", "lookup", "poll", "replay"})


def headers(provider: str, source: Source, verified: bool, content_type: str) -> Headers:
    """Those of every raw record, which has just come."""
    return [
        ("provider", provider.encode()),
        ("source", source.encode()),
        ("verified", b"1" if verified else b"0"),
        ("received-at", b"%d" % (micros_now() // 1000)),
        ("content-type", content_type.encode("latin-1")),
        ("callback-id", uuid.uuid4().hex.encode()),
    ]


def answer_headers(request: LookupRequest, status: int, final: bool) -> Headers:
    """Those that the answer to a lookup has besides. `status` is HTTP's; `final` says that the
    answer is the last word on what was claimed.
    """
    asked = [
        ("lookup-link", request["link_id"].encode()),
        ("lookup-reason", request["reason"].encode()),
        ("lookup-status", b"%d" % status),
    ]
    if claimed := request["claimed_status"]:
        asked.append(("lookup-claim", claimed.encode()))
        if final:
            asked.append(("lookup-final", b"1"))
    return asked


def read(provider: str, body: bytes, said: Mapping[str, str], origin: str, at: int) -> Raw:
    """The record with the headers `said`; `at` is its own time in milliseconds."""
    source = said.get("source", "callback")
    link = said.get("lookup-link")
    return Raw(
        provider=provider,
        body=body,
        headers=said,
        source=cast("Source", source) if source in _SOURCES else "UNKNOWN",
        verified=said.get("verified") == "1",
        received_at=_received_at(said.get("received-at", ""), at),
        origin=origin,
        link_id=None if link is None else link.encode("latin-1").decode(errors="replace"),
        claimed_status=cast("Status | None", said.get("lookup-claim")),
        final=said.get("lookup-final") == "1",
    )


def _received_at(stated: str, at: int) -> int:
    """Microseconds, from the header (milliseconds), else from the record's own time."""
    known = stated.isascii() and stated.isdigit() and len(stated) < 15
    return (int(stated) if known else at) * 1000
