"""Deterministic ids: the same event always carries the same id, so that any consumer can drop a
repeat.
"""

import hashlib

# UUIDv5 namespace of this project: uuid5(NAMESPACE_URL, "https://linkstatus.invalid/events").
_NAMESPACE = bytes.fromhex("8c0f5a8f0b5e5a0d9b8b3f3c3e1d7a61")


def event_id(kind: str, *parts: str | int | None) -> str:
    """UUIDv5 (RFC 9562 §5.5) of what makes an event the same event; None differs from an empty
    part.
    """
    name = "\x1f".join(["" if part is None else f"={part}" for part in (kind, *parts)])
    digest = bytearray(hashlib.sha1(_NAMESPACE + name.encode(), usedforsecurity=False).digest())
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"
