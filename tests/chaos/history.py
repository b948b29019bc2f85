"""The history of a seed, as `tests.checker` reads it."""

from collections.abc import Iterable, Iterator, Mapping

from connectors.kafka.cluster import Cluster
from tests.chaos.evidence import Board, Evidence
from tests.chaos.follower import Follower
from tests.chaos.ledger import Ledger
from tests.checker.history import (
    ANOMALIES,
    CALLBACKS,
    CLOSES,
    DEAD,
    EVENTS,
    LINKS,
    NOTICES,
    ORDERS,
    ROWS,
    SETTLEMENTS,
)
from tests.checker.record import Line, read_line, reader_line, record
from tests.support.receiver import Attempt

# What webhooks tell, and the sets of the board.
_HOOKS = {
    "linkstatus.OrderClose": CLOSES,
    "linkstatus.Settlement": SETTLEMENTS,
    "linkstatus.Anomaly": ANOMALIES,
}
_SETS = {"order_close": CLOSES, "settlements": SETTLEMENTS, "notices": NOTICES}


def history(
    cluster: Cluster,
    ledger: Ledger,
    evidence: Evidence,
    follower: Follower,
    accepted: Mapping[str, Attempt],
) -> Iterator[Line]:
    """Yield what senders and readers know, and what is on the cluster now."""
    yield from ledger_lines(ledger)
    for provider, body in evidence.delivered:
        topic = f"{CALLBACKS}{provider}"
        yield {"type": "acknowledged", "topic": topic, "body": body.decode("latin-1")}
    yield from record(cluster.librdkafka(), cluster.prefix)
    yield from _followed(follower)
    yield from _board(evidence.board)
    yield from _webhooks(accepted)


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


def _followed(follower: Follower) -> Iterator[Line]:
    for topic in (EVENTS, ROWS):
        yield reader_line("follower", topic, "stream")
    for topic, partition, offset in [*follower.places]:
        yield read_line("follower", topic, partition=partition, offset=offset)


def _board(board: Board) -> Iterator[Line]:
    for topic, rows in ((ROWS, board.rows), (ORDERS, board.orders)):
        yield reader_line("board", topic, "table")
        for (provider, name), row in rows.items():
            yield read_line("board", topic, key=f"{provider}:{name}", value=row)
    for table, topic in (*_SETS.items(), ("dead_letters", DEAD)):
        yield reader_line("board", topic, "set")
        yield from _ids("board", topic, board.ids[table])


def _webhooks(accepted: Mapping[str, Attempt]) -> Iterator[Line]:
    for kind, topic in _HOOKS.items():
        yield reader_line("webhooks", topic, "sequence")
        yield from _ids("webhooks", topic, (i for i, a in accepted.items() if a.type == kind))


def _ids(name: str, topic: str, ids: Iterable[str]) -> Iterator[Line]:
    return (read_line(name, topic, id=each) for each in ids)
