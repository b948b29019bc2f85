"""Makes a dead letter of any record: it always fits its topic. Pure: no Kafka, no clock."""

from typing import NamedTuple

from schemas import limits
from schemas.headers import Headers


class Written(NamedTuple):
    """Key, value and headers of a dead letter, as they are published."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def dead_letter(
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    stage: str,
    reason: str,
    origin: str,
) -> Written:
    """Return the dead letter of a record, with its stage, its reason and its origin
    (topic/partition/offset, without the prefix).

    A record that is too large is cut, and the header `cut` says what was cut.
    """
    kept, kept_bytes = _fitting(headers)
    kept_key = None if key is None else key[: limits.DEAD_LETTER_KEY_BYTES]
    room = limits.DEAD_LETTER_BYTES - kept_bytes - len(kept_key or b"")
    kept_value = None if value is None else value[:room]
    cut = [
        *([f"value of {len(value or b'')} bytes"] if kept_value != value else []),
        *([f"key of {len(key or b'')} bytes"] if kept_key != key else []),
        *([f"{len(headers)} headers"] if kept != headers else []),
    ]
    own = [
        ("stage", stage.encode()),
        ("reason", reason[: limits.REASON_CHARACTERS].encode(errors="replace")),
        ("origin", origin.encode()),
        *([("cut", ", ".join(cut).encode())] if cut else []),
    ]
    return Written(kept_key, kept_value, [*kept, *own])


def _fitting(headers: Headers) -> tuple[Headers, int]:
    """Return the first headers that fit, and their bytes. Longer names are cut."""
    kept: Headers = []
    total = 0
    for name, value in headers[: limits.DEAD_LETTER_HEADERS]:
        short = name.encode(errors="replace")[: limits.DEAD_LETTER_NAME_BYTES]
        short_value = value[: limits.DEAD_LETTER_HEADER_BYTES - total - len(short)]
        total += len(short) + len(short_value)
        if total > limits.DEAD_LETTER_HEADER_BYTES:
            break
        kept.append((short.decode(errors="ignore"), short_value))
    return kept, total
