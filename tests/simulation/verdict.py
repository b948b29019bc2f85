"""What must hold after a seed. The comparison with the rules and the plan is that of tests.chaos;
what only the log itself shows is checked here.
"""

from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

from schemas import topics
from schemas.codec import LINK_STATUS, ORDER_STATUS
from schemas.topics import Topic
from streams.rebuild.compare import compare
from streams.rebuild.rebuild import Rebuild
from tests.chaos.evidence import Board, Evidence
from tests.chaos.ledger import Ledger
from tests.chaos.problems import Problems
from tests.chaos.verdict import judge
from tests.simulation.answers import unanswered
from tests.simulation.clients import cluster_of
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.consumer import message
from tests.simulation.log import Entry
from tests.simulation.providers import INTERVALS, Plan, Providers
from tests.simulation.scheduler import Scheduler
from tests.support.codecs import CODECS

# What comes in from outside. Only transactions write the other topics.
_TABLES: tuple[tuple[Topic[Any], Any], ...] = (
    (topics.LINK_STATUS, LINK_STATUS),
    (topics.ORDERS, ORDER_STATUS),
)


def verdict(
    kafka: SimulatedKafka,
    providers: Providers,
    plan: Plan,
    ledger: Ledger,
    operations: list[dict[str, Any]],
) -> Problems:
    """Return every problem of what is on the cluster now."""
    evidence = _evidence(kafka, providers, operations)
    problems = judge(ledger, plan.links, plan.orders, evidence, providers.by_name, providers.rules)
    problems.wrong += ledger.wrong_answers
    problems.lost += unanswered(kafka)
    problems.wrong += _outside_transactions(kafka, providers)
    for topic, schema in _TABLES:
        problems.wrong += _not_one_after_another(kafka, topic, schema)
    return problems


def differences_from_rebuilt(
    kafka: SimulatedKafka, providers: Providers, now: int
) -> Iterator[str]:
    """Rebuild everything from what came in until `now` (microseconds), record by record and in
    memory. Yield what is not the same.
    """
    rebuilt = SimulatedKafka(Scheduler(), Random(0), now // 1000)
    rebuilt.create(kafka.topics, len(kafka.topics[topics.LINKS.name]))
    source, target = cluster_of(kafka), cluster_of(rebuilt)
    known = CODECS, providers.by_name, providers.rules, INTERVALS
    Rebuild(source, target, *known).run(now)
    for comparison in compare(source, target, CODECS, now, None):
        for how in ("missing", "added", "different"):
            yield from (f"rebuilt: {how}: {comparison.kind} {n}" for n in getattr(comparison, how))


def _evidence(
    kafka: SimulatedKafka, providers: Providers, operations: list[dict[str, Any]]
) -> Evidence:
    def messages(name: str) -> list[Any]:
        return [
            message((name, number), entry)
            for number, log in enumerate(kafka.topics[name])
            for entry in log.history()
        ]

    def values(topic: Topic[Any]) -> list[Any]:
        assert topic.schema
        return [CODECS.decode(topic.schema, each.value()) for each in messages(topic.name)]

    def by_id(records: Iterable[Any], name: str) -> dict[tuple[str, str], Any]:
        return {(record["provider"], record[name]): record for record in records}

    rows = by_id(values(topics.LINK_STATUS), "link_id")
    orders = by_id(values(topics.ORDERS), "order_id")
    closes, settlements = values(topics.ORDER_CLOSE), values(topics.SETTLEMENT)
    notices, dead = values(topics.NOTICES), messages(topics.DEAD_LETTERS.name)
    # There is no board here: what it would have is what the topics have.
    ids = {
        "order_close": {record["event_id"] for record in closes},
        "settlements": {record["event_id"] for record in settlements},
        "notices": {record["event_id"] for record in notices},
        "dead_letters": {f"{m.topic()}/{m.partition()}/{m.offset()}" for m in dead},
    }
    return Evidence(
        raw={name: messages(topics.callbacks(name).name) for name in providers.by_name},
        registrations=messages(topics.LINKS.name),
        events=values(topics.LINK_EVENTS),
        notices=notices,
        dead_letters=dead,
        rows=rows,
        orders=orders,
        closes=closes,
        settlements=settlements,
        anomalies=values(topics.ANOMALIES),
        board=Board(rows, orders, ids, 0),
        operations=operations,
        delivered=[],
    )


def _outside_transactions(kafka: SimulatedKafka, providers: Providers) -> Iterator[str]:
    """Yield what the workers made visible before it was committed."""
    outside = {topics.LINKS.name, topics.ORDER_UPDATES.name, topics.REFUSED_CALLBACKS.name}
    outside |= {topics.callbacks(name).name for name in providers.by_name}
    for name, logs in kafka.topics.items():
        for number, log in enumerate(logs):
            for entry in log.history():
                if not entry.in_txn and name not in outside:
                    yield f"{name}/{number}/{entry.offset} is in no transaction"


def _not_one_after_another(kafka: SimulatedKafka, topic: Topic[Any], schema: Any) -> Iterator[str]:
    """Yield each row that does not follow from the one before it: its writer did not know that."""
    for number, log in enumerate(kafka.topics[topic.name]):
        versions: dict[bytes | None, int] = {}
        for entry in log.history():
            version, key = _version(entry, schema), _key(entry)
            if version is not None and version <= versions.get(key, 0):
                yield (
                    f"{topic.name}/{number}/{entry.offset}: version {version} of {key!r} follows "
                    f"{versions.get(key, 0)}"
                )
            versions[key] = version or 0


def _key(entry: Entry) -> bytes | None:
    return entry.record.key if entry.record else None


def _version(entry: Entry, schema: Any) -> int | None:
    if entry.record is None or entry.record.value is None:
        return None
    version: int = CODECS.decode(schema, entry.record.value)["version"]
    return version
