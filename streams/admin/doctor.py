"""The doctor: check everything that an installation needs, one thing after the other."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import closing

import httpx
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connectors.board.database import migrate, paging, tables
from connectors.board.database.engine import BadUrl
from connectors.board.database.store import Store, StoreUnavailable
from connectors.http.access import is_loopback
from connectors.kafka.diagnose import explain
from connectors.reasons import reason_of
from connectors.schema_registry import client as schema_registry
from connectors.schema_registry.client import Refused, without_password
from streams import wiring
from streams.admin import brokers as broker_settings
from streams.admin import disk, doctor_notify, doctor_providers, topics
from streams.admin.finding import Finding, note, ok, wrong
from streams.settings import Settings

_BROKER_SECONDS = 4.0
_HTTP_SECONDS = 5.0
_NAMED = 3
_SETTING = re.compile(r"LINKSTATUS_[A-Z_*]+|…[A-Z_]+")
# Our user at the brokers may lack the right to look.
_USER = ("SECURITY__SASL_USERNAME", "SECURITY__SSL_CERTIFICATE")


def examine(settings: Settings, call_providers: bool = True) -> Iterator[Finding]:
    """The findings, as the checks end. `call_providers`: ask each provider about a link that does
    not exist.
    """
    yield _data_dir(settings)
    brokers = _brokers(settings)
    yield brokers
    if brokers.state == "ok":
        yield _topics(settings)
        yield _broker_settings(settings)
        yield from doctor_notify.examine(settings)
    clocks = doctor_providers.Clocks()
    yield _registry(settings)
    yield _database(settings)
    yield _access(settings)
    yield _running("edge", settings.edge_url, "EDGE_URL")
    yield _board(settings)
    for name, url in settings.board.processes.items():
        yield _running(f"process {name}", str(url), "BOARD__PROCESSES")
    yield from asyncio.run(doctor_providers.examine(settings, call_providers, clocks))
    yield clocks.finding()


def _data_dir(settings: Settings) -> Finding:
    if problem := disk.problem(settings.data_dir):
        return wrong("data folder", problem, "DATA_DIR")
    return ok("data folder", str(settings.data_dir.resolve()))


def _brokers(settings: Settings) -> Finding:
    if not settings.brokers:
        return wrong("brokers", "not set, and no `linkstatus up` runs here", "BROKERS")
    cluster = settings.cluster()
    if problem := explain(cluster, _BROKER_SECONDS):
        message, _, names = problem.partition("; check ")
        settings_ = (n.replace("…", "LINKSTATUS_SECURITY__") for n in _SETTING.findall(names))
        return Finding("brokers", "wrong", message, tuple(settings_))
    client = AdminClient({**cluster.librdkafka(), "log_level": 0})
    nodes = client.list_topics(timeout=_BROKER_SECONDS).brokers
    if settings.replication > len(nodes):
        message = f"{len(nodes)} cannot keep {settings.replication} copies of a topic"
        return wrong("brokers", message, "REPLICATION", "BROKERS")
    return ok("brokers", f"{len(nodes)} at {settings.brokers}")


def _topics(settings: Settings) -> Finding:
    all_topics, cluster = wiring.topics(settings), settings.cluster()
    try:
        problems = topics.check(cluster, all_topics, settings.partitions, settings.replication)
    except KafkaException as error:
        return wrong("topics", f"cannot be read: {reason_of(error)}", *_USER)
    if not problems:
        return ok("topics", f"all {len(all_topics)} as they should be")
    differences: dict[str, list[str]] = {}
    for topic, _, difference in (problem.partition(": ") for problem in problems):
        differences.setdefault(difference, []).append(topic)
    message = "; ".join(f"{what} ({_some(names)})" for what, names in differences.items())
    if "missing" in differences:
        message += "; `linkstatus topics create` creates missing topics"
    # Every other difference is one of the topic, and no setting of ours changes it.
    ours = [name for name in ("PARTITIONS", "REPLICATION") if name.lower() in message]
    return wrong("topics", message, *(["TOPIC_PREFIX"] if "missing" in differences else []), *ours)


def _broker_settings(settings: Settings) -> Finding:
    """No setting of ours changes these: the cluster's operator does."""
    check = "broker settings"
    try:
        differences = broker_settings.check(settings.cluster(), settings.replication)
    except KafkaException as error:
        return note(check, f"cannot be read: {reason_of(error)}")
    if differences.wrong:
        return wrong(check, "; ".join((*differences.wrong, *differences.notes)))
    if differences.notes:
        return note(check, "; ".join(differences.notes))
    return ok(check, "sessions, offsets and Kafka's own topics as they should be")


def _some(names: list[str]) -> str:
    """The number of names, and the first of them."""
    more = ", …" if len(names) > _NAMED else ""
    return f"{len(names)}: {', '.join(names[:_NAMED])}{more}"


def _registry(settings: Settings) -> Finding:
    url = settings.schema_registry_url
    if url is None:
        return ok("registry", "none; the board serves the schemas under /registry")
    try:
        ids = schema_registry.ids(url, wiring.topics(settings), settings.topic_prefix)
    except Refused as error:
        message = f"{without_password(url)}: {error}"
        return wrong("registry", message, "SCHEMA_REGISTRY_URL", "TOPIC_PREFIX")
    return ok("registry", f"all {len(ids)} schemas at {without_password(url)}")


def _database(settings: Settings) -> Finding:
    try:
        with closing(Store(settings.database(), upgrade=False)) as store:
            if (revision := store.revision()) != migrate.newest():
                state = "is new" if revision is None else f"has revision {revision}"
                return note("database", f"{state}; the board migrates it to {migrate.newest()}")
            links = paging.count(store, tables.link_status)
    except (BadUrl, StoreUnavailable) as error:
        return wrong("database", str(error), "DATABASE_URL")
    return ok("database", f"{links} links")


def _access(settings: Settings) -> Finding:
    host = settings.http.host
    if settings.board.token:
        return ok("access", f"with a token, on {host}")
    if is_loopback(host):
        return ok("access", f"this machine only, on {host}")
    message = f"the board does not start on {host} without a token"
    return wrong("access", message, "BOARD__TOKEN", "HTTP__HOST")


def _board(settings: Settings) -> Finding:
    """Whether the address of the board is a board's, and the board accepts our token."""
    url = settings.board_url()
    setting = "BOARD__URL" if settings.board.url else "EDGE_URL"
    # In one process with the edge, the board has its own readiness.
    running = _running("board", url, setting, "/readyz/board")
    if running.state != "ok":
        return running
    status = _action_status(settings)
    if status in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
        return wrong("board", f"{url} is ready, but is not a board", "BOARD__URL")
    if status == httpx.codes.UNAUTHORIZED and settings.board.token:
        message = f"{url} has another token: the board refuses every action from here"
        return wrong("board", message, "BOARD__TOKEN", setting)
    return running


def _running(check: str, url: str, setting: str, path: str = "/readyz") -> Finding:
    """Whether the process at the address is ready. It need not run now: then a note."""
    try:
        answer = httpx.get(f"{url.rstrip('/')}{path}", timeout=_HTTP_SECONDS, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return note(check, f"not running at {url} ({reason_of(error)})", setting)
    # A process without a board answers 404: the next check says so.
    if answer.status_code in (httpx.codes.OK, httpx.codes.NOT_FOUND):
        return ok(check, f"ready at {url}")
    return wrong(check, f"{url} is not ready: {'; '.join(answer.text.splitlines())[:300]}")


def _action_status(settings: Settings) -> int | None:
    """The status of the board's answer to an empty action: it refuses that action anyway, but with
    another status than for a wrong token. None without an answer.
    """
    token = settings.board.token
    bearer = {"authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    url = f"{settings.board_url().rstrip('/')}/anomalies/reopen"
    try:
        return httpx.post(url, headers=bearer, timeout=_HTTP_SECONDS, trust_env=False).status_code
    except httpx.HTTPError:
        return None
