"""Deterministic ids: the same event always carries the same id, so that any consumer can drop a
repeat."""

from uuid import NAMESPACE_URL, uuid5

_NAMESPACE = uuid5(NAMESPACE_URL, "https://linkstatus.invalid/events")


def event_id(kind: str, *parts: str | int | None) -> str:
    """UUIDv5 (RFC 9562) of what makes an event the same event; None differs from an empty part."""
    name = "\x1f".join(["" if part is None else f"={part}" for part in (kind, *parts)])
    return str(uuid5(_NAMESPACE, name))
