"""Looks at everything an installation stands on, one thing after the other."""

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import closing

import httpx
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connectors.board import migrate, queries
from connectors.board.store import Store, StoreUnavailable
from connectors.loopback import is_loopback
from connectors.reaching import explain
from streams import admin, credentials, wiring
from streams.finding import Finding, note, ok, wrong
from streams.schema_registry import Refused, Registry, shown
from streams.settings import Settings

_BROKER_SECONDS = 4.0
_HTTP_SECONDS = 5.0
_NAMED = 3
_SETTING = re.compile(r"LINKSTATUS_[A-Z_*]+|…[A-Z_]+")
# Whoever we are at the brokers lacks the right to look.
_RIGHTS = ("SECURITY__SASL_USERNAME", "SECURITY__SSL_CERTIFICATE")


def examine(settings: Settings, ask_providers: bool = True) -> Iterator[Finding]:
    """What is found, as it is found. Providers are asked for a link that never was."""
    yield _data_dir(settings)
    brokers = _brokers(settings)
    yield brokers
    if brokers.state == "ok":
        yield _topics(settings)
    clocks = credentials.Clocks()
    yield _registry(settings)
    yield _database(settings)
    yield _access(settings)
    edge = _running("edge", settings.edge_url, "EDGE_URL")
    yield edge
    yield _board(settings, edge)
    yield from asyncio.run(credentials.examine(settings, ask_providers, clocks))
    yield clocks.finding()


def _data_dir(settings: Settings) -> Finding:
    folder = settings.data_dir.resolve()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        return wrong("data folder", f"cannot write into {existing}", "DATA_DIR")
    return ok("data folder", str(folder))


def _brokers(settings: Settings) -> Finding:
    if not settings.brokers:
        return wrong("brokers", "none are set, and no `linkstatus up` runs here", "BROKERS")
    cluster = settings.cluster()
    if why := explain(cluster, _BROKER_SECONDS):
        said, _, look_at = why.partition("; look at ")
        names = (name.replace("…", "LINKSTATUS_SECURITY__") for name in _SETTING.findall(look_at))
        return Finding("brokers", "wrong", said, tuple(names))
    client = AdminClient({**cluster.librdkafka(), "log_level": 0})
    nodes = client.list_topics(timeout=_BROKER_SECONDS).brokers
    if settings.replication > len(nodes):
        few = f"{len(nodes)} cannot keep {settings.replication} copies of a topic"
        return wrong("brokers", few, "REPLICATION", "BROKERS")
    return ok("brokers", f"{len(nodes)} at {settings.brokers}")


def _topics(settings: Settings) -> Finding:
    wanted = wiring.topics()
    try:
        problems = admin.check(
            settings.cluster(), wanted, settings.partitions, settings.replication
        )
    except KafkaException as error:
        return wrong("topics", f"cannot be looked at: {error.args[0].str()}", *_RIGHTS)
    if not problems:
        return ok("topics", f"all {len(wanted)} as they should be")
    differences: dict[str, list[str]] = {}
    for topic, _, difference in (problem.partition(": ") for problem in problems):
        differences.setdefault(difference, []).append(topic)
    said = "; ".join(f"{what} ({_some(names)})" for what, names in differences.items())
    cure = "; `linkstatus topics create` makes what is missing" if "missing" in differences else ""
    return wrong("topics", said + cure, "TOPIC_PREFIX", "PARTITIONS", "REPLICATION")


def _some(names: list[str]) -> str:
    """How many, and the first of them."""
    more = ", …" if len(names) > _NAMED else ""
    return f"{len(names)}: {', '.join(names[:_NAMED])}{more}"


def _registry(settings: Settings) -> Finding:
    url = settings.schema_registry_url
    if url is None:
        return ok("registry", "none; the board serves the schemas under /registry")
    try:
        with Registry(url) as registry:
            known = registry.ids(wiring.topics(), settings.topic_prefix)
    except (Refused, ValueError, KeyError) as error:
        return wrong("registry", f"{shown(url)}: {error}", "SCHEMA_REGISTRY_URL", "TOPIC_PREFIX")
    return ok("registry", f"all {len(known)} schemas at {shown(url)}")


def _database(settings: Settings) -> Finding:
    try:
        with closing(Store(settings.database(), upgrade=False)) as store:
            if (found := store.revision()) != migrate.newest():
                has = "is new" if found is None else f"has revision {found}"
                said = f"{has}; the board brings it to {migrate.newest()} at its start"
                return note("database", said)
            links = sum(sum(statuses.values()) for statuses in queries.counts(store).values())
    except StoreUnavailable as error:
        return wrong("database", str(error), "DATABASE_URL")
    return ok("database", f"{links} links")


def _access(settings: Settings) -> Finding:
    if settings.board.token:
        return ok("access", f"with a token, on {settings.http.host}")
    if is_loopback(settings.http.host):
        return ok("access", f"this machine only, on {settings.http.host}")
    said = f"the board does not start on {settings.http.host} without a token"
    return wrong("access", said, "BOARD__TOKEN", "HTTP__HOST")


def _board(settings: Settings, edge: Finding) -> Finding:
    """Whether what the commands ask is a board, and takes our token."""
    url = settings.board_url()
    where = "BOARD__URL" if settings.board.url else "EDGE_URL"
    # At one address the two are one process.
    running = _running("board", url, where) if settings.board.url else edge._replace(check="board")
    if running.state != "ok":
        return running
    status = _asked_to_act(settings)
    if status in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
        return wrong("board", f"{url} is ready, but is no board", "BOARD__URL")
    if status == httpx.codes.UNAUTHORIZED and settings.board.token:
        said = f"{url} is ready, but has another token: from here nothing can be set going there"
        return wrong("board", said, "BOARD__TOKEN", where)
    return running


def _running(check: str, url: str, setting: str) -> Finding:
    """Whether something runs where the commands look for it; it need not run now."""
    try:
        answer = httpx.get(f"{url.rstrip('/')}/readyz", timeout=_HTTP_SECONDS, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return note(check, f"not running at {url} ({error})", setting)
    if answer.status_code == httpx.codes.OK:
        return ok(check, f"ready at {url}")
    return wrong(check, f"{url} is not ready: {answer.text.strip()[:200]}", setting)


def _asked_to_act(settings: Settings) -> int | None:
    """How the board answers an act that names nothing: refused, too, but not for our token. None if
    it does not.
    """
    token = settings.board.token
    bearer = {"authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    act = f"{settings.board_url().rstrip('/')}/anomalies/open"
    try:
        return httpx.post(act, headers=bearer, timeout=_HTTP_SECONDS, trust_env=False).status_code
    except httpx.HTTPError:
        return None
