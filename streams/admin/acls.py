"""The Kafka ACLs that each process needs on a secured cluster.

They come from the same tables as the code. A test runs every process with just these, and checks in
the broker's log that each is needed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from connectors.board.database.projection import TOPICS as BOARD_TOPICS
from connectors.notify.endpoint import SCHEMAS as SENT
from connectors.providers.base import Provider
from schemas import topics as t
from streams.agents.stages import STAGE, TABLES, inputs

Operation = Literal["READ", "WRITE", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"]
Resource = Literal["topic", "group", "transactional-id"]

# The topics that the agents write, besides their own tables.
_OUTPUTS = (
    *(t.LINK_FACTS, t.PAYMENT_EVENTS, t.ORDER_EVENTS),
    *(t.LINK_EVENTS, t.NOTICES, t.ANOMALIES, t.LOOKUPS, t.REFUNDS),
    *(t.ORDER_CLOSE, t.ORDER_CORRECTIONS, t.SETTLEMENT, t.DEAD_LETTERS),
)
# The processes that read records of other releases.
_READERS = ("board", "import", "lookup", "notify", "reconcile", "settle", "tail", "web", "work")
# The topics, besides callbacks, whose readers dead-letter a record that they cannot read.
_DEAD_LETTERED = (
    *(t.LINKS, t.ORDER_UPDATES, t.LINK_FACTS, t.PAYMENT_EVENTS, t.ORDER_EVENTS),
    *(t.LOOKUPS, t.ORDER_CLOSE, t.SETTLEMENT, t.NOTIFY_REPLAYS),
)


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """One right of one process. As in Kafka, READ and WRITE include DESCRIBE."""

    process: str
    operation: Operation
    resource: Resource
    name: str
    prefixed: bool = False


def acls(providers: Mapping[str, Provider], prefix: str, *, registry: bool = False) -> list[Acl]:
    """All ACLs of an installation, with an external schema registry or without. `web` is receive
    and board in one process; `care` is `linkstatus topics` and `doctor`; `tail`, `replay`,
    `reconcile` and `import` are `linkstatus tail`, `dead-letters`, `reconcile` and `import`.
    """
    # With a registry, every process that writes records publishes the registry's ids.
    writers = ("care", "receive", *_READERS) if registry else ("care",)
    rights = {
        *(acl for process in ("receive", "web") for acl in _receive(process, providers)),
        *(acl for process in ("board", "web") for acl in _board(process, providers)),
        *_work(providers),
        *_lookup(providers),
        *_settle(),
        *_notify(),
        *_triage("replay", providers),
        *_reconcile(),
        *_import(providers),
        *_commands(providers),
        *(acl for process in {*_READERS, *writers} for acl in _read_schemas(process)),
        *(Acl(process, "WRITE", "topic", t.SCHEMAS.name) for process in writers),
    }
    return sorted(replace(acl, name=prefix + acl.name) for acl in rights)


def _topics(process: str, operation: Operation, *names: str) -> Iterator[Acl]:
    return (Acl(process, operation, "topic", name) for name in names)


def _raw(providers: Iterable[str]) -> list[str]:
    return [t.callbacks(name).name for name in providers]


def _receive(process: str, providers: Iterable[str]) -> Iterator[Acl]:
    written = t.LINKS.name, t.REFUSED_CALLBACKS.name
    yield from _topics(process, "WRITE", *_raw(providers), *written)


def _board(process: str, providers: Iterable[str]) -> Iterator[Acl]:
    # The board keeps its offsets in its database: it needs no group. It reads the raw record behind
    # an event from the record's own topic.
    yield from _topics(process, "READ", *BOARD_TOPICS, *_raw(providers), t.LINKS.name)
    yield Acl(process, "DESCRIBE", "group", "linkstatus-raw")
    yield from _triage(process, providers)


def _triage(process: str, providers: Iterable[str]) -> Iterator[Acl]:
    yield from _topics(process, "READ", t.DEAD_LETTERS.name, t.REPLAYS.name, t.NOTICES.name)
    origins = [*_raw(providers), *(topic.name for topic in _DEAD_LETTERED)]
    # `notices` keeps the audit trail.
    yield from _topics(process, "WRITE", *origins, t.REPLAYS.name, t.NOTICES.name)
    yield Acl(process, "DESCRIBE", "group", "linkstatus-triage")
    # Each replay has its own id.
    yield Acl(process, "WRITE", "transactional-id", "linkstatus-replay-", prefixed=True)


def _work(providers: Mapping[str, Provider]) -> Iterator[Acl]:
    group = f"linkstatus.{STAGE}"
    tables = [topic.name for topic in TABLES.values()]
    consumed = (topic.name for topics in inputs(providers).values() for topic in topics)
    yield from _topics("work", "READ", *consumed, *tables)
    yield from _topics("work", "WRITE", *(topic.name for topic in _OUTPUTS), *tables)
    yield Acl("work", "READ", "group", group)
    # The rest of the id is the worker's own name.
    yield Acl("work", "WRITE", "transactional-id", f"{group}.", prefixed=True)
    yield Acl("work", "DESCRIBE", "group", f"{group}.restore")


def _lookup(providers: Iterable[str]) -> Iterator[Acl]:
    yield from _topics("lookup", "READ", t.LOOKUPS.name)
    yield from _topics("lookup", "WRITE", *_raw(providers), t.DEAD_LETTERS.name)
    for name in providers:
        yield Acl("lookup", "READ", "group", f"lookup-{name}")


def _settle() -> Iterator[Acl]:
    yield from _topics("settle", "READ", t.ORDER_CLOSE.name, t.SETTLEMENT.name)
    yield from _topics("settle", "WRITE", t.ORDER_UPDATES.name, t.DEAD_LETTERS.name)
    yield Acl("settle", "READ", "group", "settle")


def _notify() -> Iterator[Acl]:
    yield from _topics("notify", "READ", *SENT, t.NOTIFY_REPLAYS.name)
    yield from _topics("notify", "WRITE", t.DEAD_LETTERS.name)
    # Each endpoint has its own group.
    yield Acl("notify", "READ", "group", "notify-", prefixed=True)


def _reconcile() -> Iterator[Acl]:
    read = (t.PAYOUTS_RAW, t.ORDER_CLOSE, t.ORDER_CORRECTIONS, t.ORDERS)
    yield from _topics("reconcile", "READ", *(topic.name for topic in read))
    written = (t.PAYOUTS_RAW, t.PAYOUTS, t.RECONCILIATIONS, t.ORDER_UPDATES)
    yield from _topics("reconcile", "WRITE", *(topic.name for topic in written))
    yield Acl("reconcile", "DESCRIBE", "group", "linkstatus-reconcile")


def _import(providers: Iterable[str]) -> Iterator[Acl]:
    yield from _topics("import", "READ", t.LINK_STATUS.name, t.IMPORTS.name)
    yield from _topics("import", "WRITE", *_raw(providers), t.IMPORTS.name)
    yield Acl("import", "DESCRIBE", "group", "linkstatus-import")


def _read_schemas(process: str) -> Iterator[Acl]:
    yield Acl(process, "READ", "topic", t.SCHEMAS.name)
    yield Acl(process, "DESCRIBE", "group", "linkstatus-schemas")


def _commands(providers: Iterable[str]) -> Iterator[Acl]:
    names = [topic.name for topic in t.all_topics(providers)]
    operations: tuple[Operation, ...] = ("CREATE", "DESCRIBE", "DESCRIBE_CONFIGS")
    for operation in operations:
        yield from _topics("care", operation, *names)
    yield from _topics("tail", "READ", *names)
    yield Acl("tail", "DESCRIBE", "group", "linkstatus-tail")


def commands(acls: Iterable[Acl], brokers: str, principal: str) -> Iterator[str]:
    """Shell commands of Kafka's own tool; `principal` holds `{process}`."""
    for key, group in groupby(sorted(acls, key=_command_key), key=_command_key):
        process, operation, resource, prefixed = key
        # Kafka's tool spells DESCRIBE_CONFIGS as DescribeConfigs.
        verb = operation.title().replace("_", "")
        pattern = " --resource-pattern-type prefixed" if prefixed else ""
        names = "".join(f" --{resource} '{acl.name}'" for acl in group)
        yield (
            f"kafka-acls.sh --bootstrap-server {brokers} --command-config admin.properties --add "
            f"--allow-principal '{principal.format(process=process)}' --operation {verb}"
            f"{pattern}{names}"
        )


def _command_key(acl: Acl) -> tuple[str, str, str, bool]:
    return acl.process, acl.operation, acl.resource, acl.prefixed
