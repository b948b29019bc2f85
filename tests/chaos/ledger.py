"""What the sender knows: every attempt to deliver, under its own trace id, and the answer.

The edge stores the trace id with the raw bytes, so each acknowledged attempt must be on Kafka
under its trace id.
"""

import secrets
from collections import Counter
from dataclasses import dataclass, field

# The body is empty, its encoding is unknown, or there are too many bytes of headers.
_REFUSALS = (400, 415, 431)


@dataclass(frozen=True, slots=True)
class Sent:
    provider: str
    body: bytes


@dataclass(slots=True)
class Ledger:
    acknowledged: dict[str, Sent] = field(default_factory=dict)
    forged: dict[str, Sent] = field(default_factory=dict)
    registered: dict[str, tuple[str, str]] = field(default_factory=dict)
    # Answers that the edge must not give.
    wrong_answers: list[str] = field(default_factory=list)
    retries: int = 0
    # Server errors other than 503: the edge got its stop signal while it answered.
    server_errors: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def record(self, trace: str, sent: Sent, status: int | None, kind: str) -> bool:
        """Note the answer to one attempt. Return whether the callback needs no further attempt."""
        if status == 200:
            if kind in ("forged", "refused"):
                self.wrong_answers.append(f"{sent.provider}: {kind}, but answered 200")
            self.acknowledged[trace] = sent
            self.kinds[kind] += 1
            return True
        if status == 401 and kind == "forged":
            self.forged[trace] = sent
            return True
        if status in _REFUSALS and kind == "refused":
            self.kinds[kind] += 1
            return True
        # 408: the link from the sender was so slow that the request was not whole in time.
        if status is None or status == 408 or status >= 500:
            # The record may still arrive, also after a 503: Kafka's acknowledgement was only late.
            self.retries += 1
            self.server_errors += status is not None and status not in (408, 503)
            return False
        self.wrong_answers.append(f"{sent.provider}: answered {status}: {sent.body[:200]!r}")
        return True


def new_trace() -> tuple[str, str]:
    """Return a trace id, and the header `traceparent` with it (W3C Trace Context)."""
    trace = secrets.token_hex(16)
    return trace, f"00-{trace}-{secrets.token_hex(8)}-01"
