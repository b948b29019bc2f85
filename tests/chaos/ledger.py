"""What the sender knows: every attempt to deliver, under a trace id of its own, and its answer.

The edge keeps the trace id with the raw bytes, so each acknowledged attempt has to be found on
Kafka under it.
"""

import secrets
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sent:
    provider: str
    body: bytes


@dataclass(slots=True)
class Ledger:
    """`maybe` are attempts without an answer: they may or may not have been stored."""

    acknowledged: dict[str, Sent] = field(default_factory=dict)
    maybe: dict[str, Sent] = field(default_factory=dict)
    forged: dict[str, Sent] = field(default_factory=dict)
    registered: dict[str, tuple[str, str]] = field(default_factory=dict)
    # Answers that no sender should get, in words.
    refused: list[str] = field(default_factory=list)
    retries: int = 0
    # Server errors other than 503: of an edge that was told to end in the middle.
    broken: int = 0
    kinds: dict[str, int] = field(default_factory=dict)

    def answered(self, trace: str, sent: Sent, status: int | None, kind: str) -> bool:
        """Notes the answer to one attempt; True when the callback is done with."""
        if status == 200:
            if kind == "forged":
                self.refused.append(f"{sent.provider}: a forged callback was answered 200")
            self.acknowledged[trace] = sent
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            return True
        if status == 401 and kind == "forged":
            self.forged[trace] = sent
            return True
        if status is None or status >= 500:
            # Also after a 503 the record may still arrive: Kafka was only too late in saying so.
            self.maybe[trace] = sent
            self.retries += 1
            self.broken += status is not None and status != 503
            return False
        self.refused.append(f"{sent.provider}: answered {status}: {sent.body[:200]!r}")
        return True


def new_trace() -> tuple[str, str]:
    """A trace id, and the header `traceparent` that carries it (W3C Trace Context)."""
    trace = secrets.token_hex(16)
    return trace, f"00-{trace}-{secrets.token_hex(8)}-01"
