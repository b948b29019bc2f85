"""Ids of events, and which texts can be ids."""

from hashlib import sha1
from typing import TypeGuard
from uuid import NAMESPACE_URL, uuid5

NAMESPACE = uuid5(NAMESPACE_URL, "https://linkstatus.invalid/events")
LONGEST_ID = 200

_SEED = NAMESPACE.bytes
_CONTROLS = frozenset(map(chr, range(32))) | {"\x7f"}
# As a segment of a path these name the folder or its parent, however they are escaped: an invented
# id must not choose which of the provider's resources we ask for.
_PATHS = frozenset({".", ".."})


def event_id(kind: str, *parts: str | int | None) -> str:
    """Return the id of an event: the same event always has the same id, so a consumer can drop a
    repeat.

    It is the UUIDv5 (RFC 9562, 5.5) of what identifies the event; None differs from an empty part.
    `uuid.uuid5` returns the same and takes twice as long.
    """
    name = "\x1f".join(["" if part is None else f"={part}" for part in (kind, *parts)])
    digest = sha1(_SEED + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def is_identifier(value: object) -> TypeGuard[str]:
    """Whether `value` can be an id of anything."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= LONGEST_ID
        # Printable ASCII has no control characters, and is known much sooner.
        and ((value.isascii() and value.isprintable()) or _CONTROLS.isdisjoint(value))
        and value not in _PATHS
    )
