"""What the checker finds, and its kinds."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

LOST = "lost"
# The same again: same id, same content.
REPEATED = "repeated"
# Two different decisions about one thing.
DOUBLED = "doubled"
OUT_OF_ORDER = "out of order"
UNCOMMITTED = "uncommitted seen"
STALE = "stale read"
REFUSED = "refused but stored"
WRONG_EVENT = "wrong event"
WRONG_ROW = "wrong row"
WRONG_CLOSE = "wrong close"
WITHOUT_CAUSE = "close without cause"
MISSING_CLOSE = "close missing"
WRONG_SETTLEMENT = "wrong settlement"

KINDS = (
    *(LOST, REPEATED, DOUBLED, OUT_OF_ORDER, UNCOMMITTED, STALE, REFUSED, WRONG_EVENT, WRONG_ROW),
    *(WITHOUT_CAUSE, MISSING_CLOSE, WRONG_CLOSE, WRONG_SETTLEMENT),
)
_MOST_LINES = 12


@dataclass(frozen=True, slots=True)
class Finding:
    """`lines` are the numbers of the lines of the history that show it, the first of them."""

    kind: str
    key: str
    text: str
    lines: tuple[int, ...]

    def __str__(self) -> str:
        shown = f" (lines {', '.join(map(str, self.lines))})" if self.lines else ""
        return f"{self.kind}: {self.key}: {self.text}{shown}"


def finding(kind: str, key: str, text: str, lines: Iterable[int] = ()) -> Finding:
    return Finding(kind, key, text, tuple(islice(lines, _MOST_LINES)))


Findings = Iterator[Finding]
