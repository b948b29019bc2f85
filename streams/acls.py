"""What each process may do on a cluster that asks: Kafka's ACLs, from the same tables as the code.

A test runs every process with just these, and finds in the broker's log that each was needed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from connectors.board.rows import TOPICS as BOARD_TOPICS
from connectors.provider import Provider
from schemas import topics as t
from streams.work import specs

Operation = Literal["READ", "WRITE", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"]
Resource = Literal["topic", "group", "transactional-id"]

# What the agents of a stage send, besides the stage's own table.
_SENT: dict[str, tuple[t.Topic[Any], ...]] = {
    "normalize": (
        *(t.LINK_EVENTS, t.PAYMENT_EVENTS, t.ORDER_EVENTS),
        *(t.NOTICES, t.ANOMALIES, t.LOOKUPS),
    ),
    "join": (t.LINK_EVENTS,),
    "track": (t.ANOMALIES, t.LOOKUPS, t.ORDER_EVENTS),
    "orders": (t.ORDER_CLOSE, t.SETTLEMENT, t.ANOMALIES),
}


# Those who meet schemas of other releases.
_READERS = ("board", "lookup", "settle", "tail", "web", "work")
# What is read by somebody who dead-letters what he cannot read.
_LETTERED = (
    *(t.LINKS, t.ORDER_UPDATES, t.PAYMENT_EVENTS, t.LINK_EVENTS, t.ORDER_EVENTS),
    *(t.LOOKUPS, t.ORDER_CLOSE, t.SETTLEMENT),
)


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """One thing that one process may do. READ and WRITE include DESCRIBE, as with Kafka."""

    process: str
    operation: Operation
    resource: Resource
    name: str
    prefixed: bool = False


def acls(providers: Mapping[str, Provider], prefix: str, *, registry: bool = False) -> list[Acl]:
    """All of an installation, with an external schema registry or without. `web` is receive and
    board; `care` is `linkstatus topics` and `doctor`; `tail` reads for people, and `replay` is
    `linkstatus dead-letters`.
    """
    found = {
        *_receive("receive", providers),
        *_board("board", providers),
        *_receive("web", providers),
        *_board("web", providers),
        *_work(providers),
        *_lookup(providers),
        *_settle(),
        *_replaying("replay", providers),
        *_for_people(providers),
        *(acl for process in _READERS for acl in _schemas(process, notes=registry)),
        *_schemas("care", notes=True),
        # With a registry the ids that it gives are noted by whoever writes.
        *(_schemas("receive", notes=True) if registry else ()),
    }
    return sorted(
        Acl(acl.process, acl.operation, acl.resource, prefix + acl.name, acl.prefixed)
        for acl in found
    )


def _topics(process: str, operation: Operation, names: Iterable[str]) -> Iterator[Acl]:
    return (Acl(process, operation, "topic", name) for name in names)


def _raw(providers: Iterable[str]) -> list[str]:
    return [t.callbacks(name).name for name in providers]


def _receive(process: str, providers: Iterable[str]) -> Iterator[Acl]:
    yield from _topics(process, "WRITE", [*_raw(providers), t.LINKS.name])


def _board(process: str, providers: Iterable[str]) -> Iterator[Acl]:
    # It keeps its positions in its database: no group.
    yield from _topics(process, "READ", BOARD_TOPICS)
    # What stood behind an event is read where it came from.
    yield from _topics(process, "READ", [*_raw(providers), t.LINKS.name])
    yield Acl(process, "DESCRIBE", "group", "linkstatus-raw")
    yield from _replaying(process, providers)


def _replaying(process: str, providers: Iterable[str]) -> Iterator[Acl]:
    yield from _topics(process, "READ", [t.DEAD_LETTERS.name, t.REPLAYS.name, t.NOTICES.name])
    origins = [*_raw(providers), *(topic.name for topic in _LETTERED)]
    # Who did what is noted: set one aside, or from the board cancelled a link, too.
    yield from _topics(process, "WRITE", [*origins, t.REPLAYS.name, t.NOTICES.name])
    yield Acl(process, "DESCRIBE", "group", "linkstatus-letters")
    # Each replay has an id of its own.
    yield Acl(process, "WRITE", "transactional-id", "linkstatus-replay-", prefixed=True)


def _work(providers: Mapping[str, Provider]) -> Iterator[Acl]:
    for spec in specs(providers).values():
        name = f"linkstatus.{spec.name}"
        yield from _topics("work", "READ", spec.inputs)
        yield from _topics("work", "WRITE", (topic.name for topic in _SENT[spec.name]))
        yield from _topics("work", "WRITE", [t.DEAD_LETTERS.name])
        yield Acl("work", "READ", "group", name)
        # The rest of the id is the worker's own name.
        yield Acl("work", "WRITE", "transactional-id", f"{name}.", prefixed=True)
        if spec.table is not None:
            yield from _topics("work", "READ", [spec.table])
            yield from _topics("work", "WRITE", [spec.table])
            yield Acl("work", "DESCRIBE", "group", f"{name}.restore")


def _lookup(providers: Iterable[str]) -> Iterator[Acl]:
    yield from _topics("lookup", "READ", [t.LOOKUPS.name])
    yield from _topics("lookup", "WRITE", [*_raw(providers), t.DEAD_LETTERS.name])
    for name in providers:
        yield Acl("lookup", "READ", "group", f"lookup-{name}")


def _settle() -> Iterator[Acl]:
    yield from _topics("settle", "READ", [t.ORDER_CLOSE.name, t.SETTLEMENT.name])
    yield from _topics("settle", "WRITE", [t.ORDER_UPDATES.name, t.DEAD_LETTERS.name])
    yield Acl("settle", "READ", "group", "settle")


def _schemas(process: str, *, notes: bool) -> Iterator[Acl]:
    yield from _topics(process, "READ", [t.SCHEMAS.name])
    yield Acl(process, "DESCRIBE", "group", "linkstatus-schemas")
    if notes:
        yield from _topics(process, "WRITE", [t.SCHEMAS.name])


def _for_people(providers: Iterable[str]) -> Iterator[Acl]:
    everything = [topic.name for topic in t.all_topics(providers)]
    yield from _topics("care", "CREATE", everything)
    yield from _topics("care", "DESCRIBE", everything)
    yield from _topics("care", "DESCRIBE_CONFIGS", everything)
    yield from _topics("tail", "READ", everything)
    yield Acl("tail", "DESCRIBE", "group", "linkstatus-tail")


def commands(found: Iterable[Acl], brokers: str, principal: str) -> Iterator[str]:
    """Lines for a shell with Kafka's own tool; `principal` holds `{process}`."""
    for (process, operation, resource, prefixed), some in groupby(
        sorted(found, key=_line), key=_line
    ):
        who = principal.format(process=process)
        # As Kafka's tool spells it: DescribeConfigs.
        verb = operation.title().replace("_", "")
        pattern = " --resource-pattern-type prefixed" if prefixed else ""
        names = "".join(f" --{resource} '{acl.name}'" for acl in some)
        yield (
            f"kafka-acls.sh --bootstrap-server {brokers} --command-config admin.properties --add "
            f"--allow-principal '{who}' --operation {verb}{pattern}{names}"
        )


def _line(acl: Acl) -> tuple[str, str, str, bool]:
    return acl.process, acl.operation, acl.resource, acl.prefixed
