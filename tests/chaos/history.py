"""Lines of a history, as `tests.checker` reads it: what senders and readers know."""

from collections.abc import Iterator

from tests.chaos.ledger import Ledger
from tests.checker.history import CALLBACKS, LINKS
from tests.checker.record import Line


def ledger_lines(ledger: Ledger) -> Iterator[Line]:
    """Yield what was acknowledged, and what was refused."""
    for trace, sent in ledger.acknowledged.items():
        line = {"type": "acknowledged", "topic": f"{CALLBACKS}{sent.provider}", "trace": trace}
        yield {**line, "body": sent.body.decode("latin-1")}
    for trace, (provider, link_id) in ledger.registered.items():
        line = {"type": "acknowledged", "topic": LINKS, "trace": trace}
        yield {**line, "key": f"{provider}:{link_id}"}
    for trace in ledger.forged:
        yield {"type": "refused", "trace": trace}
