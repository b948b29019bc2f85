"""`linkstatus doctor`: what is misconfigured, and the setting to change."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import typer

if TYPE_CHECKING:
    from streams.settings import Settings


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Care")(doctor)


class Finding(NamedTuple):
    """One thing looked at. `wrong` says what to change; `note` is worth knowing, but no fault."""

    what: str
    wrong: str | None = None
    note: str | None = None


def doctor() -> None:
    """Looks at the settings, the cluster, the topics, the database and the credentials."""
    from streams import running
    from streams.cli.terminal import Failed

    settings = running.settings()  # a wrong value names itself and ends the command here
    findings = list(examine(settings))
    for finding in findings:
        mark = "wrong" if finding.wrong else "ok"
        print(f"{mark:6}{finding.what}: {finding.wrong or finding.note or 'fine'}")
    if any(finding.wrong for finding in findings):
        raise Failed("not all is well")


def examine(settings: "Settings") -> Iterator[Finding]:
    """Looks at one thing after the other."""
    yield Finding("settings")
    yield _data_dir(settings)
    cluster = _attempt("brokers", lambda: _cluster(settings), "LINKSTATUS_BROKERS, …SECURITY__*")
    yield cluster
    if cluster.wrong is None:
        yield _topics(settings)
    if settings.schema_registry_url:
        setting = "LINKSTATUS_SCHEMA_REGISTRY_URL"
        yield _attempt("schema registry", lambda: _registry(settings), setting)
    yield _attempt("database", lambda: _database(settings), "LINKSTATUS_DATABASE_URL")
    yield _access(settings)
    yield from _credentials(settings)


def _attempt(what: str, look: Callable[[], str], setting: str) -> Finding:
    try:
        return Finding(what, note=look())
    except Exception as error:  # whatever is wrong is what was asked for
        return Finding(what, wrong=f"{error}; look at {setting}")


def _data_dir(settings: "Settings") -> Finding:
    import os

    folder = settings.data_dir.resolve()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        return Finding("data folder", wrong=f"cannot write {existing}: LINKSTATUS_DATA_DIR")
    return Finding("data folder", note=str(folder))


def _cluster(settings: "Settings") -> str:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    from connectors.reaching import explain

    client = AdminClient({**settings.cluster().librdkafka(), "log_level": 0})
    try:
        nodes = client.list_topics(timeout=5).brokers
    except KafkaException as error:
        raise ValueError(explain(settings.cluster()) or str(error)) from error
    if settings.replication > len(nodes):
        raise ValueError(
            f"{len(nodes)} brokers cannot keep {settings.replication} copies: "
            "LINKSTATUS_REPLICATION"
        )
    return f"{len(nodes)} at {settings.brokers}"


def _topics(settings: "Settings") -> Finding:
    from streams import admin, wiring

    problems = admin.check(
        settings.cluster(), wiring.topics(), settings.partitions, settings.replication
    )
    if problems:
        cure = (
            "`linkstatus topics create` makes what is missing; LINKSTATUS_PARTITIONS, …REPLICATION"
        )
        return Finding("topics", wrong=f"{'; '.join(problems)}; {cure}")
    return Finding("topics", note=f"all {len(wiring.topics())} as they should be")


def _registry(settings: "Settings") -> str:
    from streams import wiring
    from streams.schema_registry import Registry

    with Registry(settings.schema_registry_url or "") as registry:
        return f"{len(registry.ids(wiring.topics(), settings.topic_prefix))} schemas"


def _database(settings: "Settings") -> str:
    from contextlib import closing

    from connectors.board import migrate, queries
    from connectors.board.store import Store

    with closing(Store(settings.database(), upgrade=False)) as store:
        if (found := store.revision()) != migrate.newest():
            return f"revision {found}; the board will bring it to {migrate.newest()} at its start"
        links = sum(sum(statuses.values()) for statuses in queries.counts(store).values())
    return f"{links} links"


def _access(settings: "Settings") -> Finding:
    from connectors.loopback import is_loopback

    if is_loopback(settings.http.host) or settings.board.token:
        return Finding("access")
    return Finding(
        "access",
        wrong=f"the board would be open on {settings.http.host}: set LINKSTATUS_BOARD__TOKEN",
    )


def _credentials(settings: "Settings") -> Iterator[Finding]:
    for name, provider in settings.providers().items():
        asks = (
            "asks its API"
            if provider.can_look_up()
            else (f"no credentials for its API (LINKSTATUS_{name.upper()}__…): claims stay claims")
        )
        yield Finding(name, note=asks)
