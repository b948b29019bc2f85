"""`linkstatus up`: run everything on one machine, and stop it in order."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.live import Live

from connectors.kafka.cluster import Cluster
from connectors.reasons import reason_of
from connectors.schema_registry import client, noted_ids
from streams import wiring
from streams.admin import topics
from streams.environment import BadSettings
from streams.local import data_folder
from streams.local.broker import Broker, BrokerFailed
from streams.local.processes import Plan, plan
from streams.local.signals import until_signal
from streams.local.status_line import StatusReader
from streams.local.subprocesses import PRIVATE, Ports
from streams.local.supervisor import STOP_SECONDS, TEND_SECONDS, Supervisor
from streams.settings import Settings

# The processes end first, then the broker; below ten seconds in all.
_STOP_SECONDS = 9.5
_BROKER_RETRY_SECONDS = 5.0
# After this time `up` prints the addresses although a process is not ready.
_READY_SECONDS = 45.0
_LIVE_SECONDS = 1.0
_PLAIN_SECONDS = 5.0
# Kafka's usual port; another one if this is taken.
_KAFKA_PORT = 9092


def run(settings: Settings, port: int | None, with_sandbox: bool) -> None:
    """Run the system until a signal."""
    os.umask(PRIVATE)
    settings.data_dir = settings.data_dir.resolve()
    preferred = settings.http.port if port is None else port
    kafka_port = _KAFKA_PORT
    if preferred == 0:
        # Two systems that start at the same time would both see the usual ports free.
        kafka_port = settings.sandbox.port = 0
    with data_folder.locked(settings.data_dir):
        ports = Ports()
        settings.http.port = _http_port(preferred, settings.http.host, ports)
        system = _System(settings, ports)
        try:
            with until_signal():
                system.start(with_sandbox, kafka_port)
                system.watch()
        finally:
            system.stop()


def _http_port(preferred: int, host: str, ports: Ports) -> int:
    try:
        port = ports.free(preferred, host)
    except OSError as error:
        raise BadSettings(
            f"LINKSTATUS_HTTP__HOST: cannot listen on {host}: {reason_of(error)}"
        ) from error
    if preferred not in (0, port):
        raise OSError(f"port {preferred} is in use; choose another with --port")
    return port


class _System:
    """The broker and the processes of one `linkstatus up`."""

    def __init__(self, settings: Settings, ports: Ports) -> None:
        self._settings = settings
        self._ports = ports
        self._console = Console(highlight=False)
        self._broker: Broker | None = None
        self._broker_retry_at = 0.0
        self._supervisor = Supervisor([], self._say)

    def start(self, with_sandbox: bool, kafka_port: int) -> None:
        """Start the broker, create the topics and prepare the children."""
        cluster = self._cluster(kafka_port)
        s = self._settings
        # `up` simulates the connections without settings of their own, so they exist too.
        names = s.known_connections() if with_sandbox else s.provider_names()
        s = self._settings = s.model_copy(update={"providers": ",".join(names)})
        all_topics = wiring.topics(s)
        created = topics.create(cluster, all_topics, s.partitions, s.replication)
        self._say(f"topics: {len(created)} created, {len(all_topics) - len(created)} existing")
        for difference in topics.check(cluster, all_topics, s.partitions, s.replication):
            self._say(f"topic {difference}")
        noted_ids.note_own(cluster)
        if s.schema_registry_url:
            ids = client.register(s.schema_registry_url, all_topics, s.topic_prefix)
            self._say(f"schemas: {len(ids)} in the registry")
        self._plan = plan(s, cluster, with_sandbox, self._ports)
        data_folder.write_note(s.data_dir, self._plan.environment)
        self._supervisor = Supervisor(self._plan.children, self._say)

    def watch(self) -> None:
        """Keep the children running and show the status line, until a signal."""
        announced, next_look = False, 0.0
        announce_at = time.monotonic() + _READY_SECONDS
        urls = self._plan.url("web"), self._plan.url("work")
        status = StatusReader(self._settings.database(), *urls)
        with contextlib.closing(status), self._status_line() as show:
            while True:
                self._tend()
                if (now := time.monotonic()) >= next_look:
                    unready = [
                        c.name
                        for c in self._plan.children
                        if not (c.runs() and status.ready(c.address.url))
                    ]
                    if not announced and (not unready or now > announce_at):
                        announced = True
                        self._announce(self._plan)
                    show(f"waiting for {', '.join(unready)}" if unready else status.line())
                    live = self._console.is_terminal or not announced
                    next_look = now + (_LIVE_SECONDS if live else _PLAIN_SECONDS)
                time.sleep(TEND_SECONDS)

    def stop(self) -> None:
        """Stop the processes, then the broker; kill what does not end in time."""
        if not (self._broker or self._supervisor.children):
            return
        self._say("stopping …")
        started = time.monotonic()
        killed = self._supervisor.stop(STOP_SECONDS)
        if self._broker:
            self._broker.stop(started + _STOP_SECONDS - time.monotonic())
        forced = f" ({', '.join(killed)} had to be killed)" if killed else ""
        self._say(f"stopped after {time.monotonic() - started:.1f} s{forced}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def _cluster(self, kafka_port: int) -> Cluster:
        protocol = self._settings.security.protocol
        if self._settings.brokers is not None:
            wiring.check_access(self._settings)
        elif protocol != "PLAINTEXT":
            raise BadSettings(
                f"LINKSTATUS_SECURITY__PROTOCOL is {protocol}, but LINKSTATUS_BROKERS is not set "
                "and the embedded broker supports PLAINTEXT only: set LINKSTATUS_BROKERS"
            )
        else:
            self._broker = Broker(
                self._settings.data_dir,
                port=kafka_port,
                say=self._say,
                ports=self._ports,
                lasting=True,
            )
            self._say("starting Apache Kafka …")
            self._broker.start()
            if kafka_port not in (0, self._broker.port):
                self._say(f"port {kafka_port} is in use; Kafka listens on {self._broker.port}")
            self._settings.brokers = self._broker.brokers
        return self._settings.cluster()

    def _tend(self) -> None:
        """Restart what has ended."""
        self._supervisor.tend()
        broker = self._broker
        if broker is None or broker.running() or time.monotonic() < self._broker_retry_at:
            return
        self._say(f"the broker ended; restarting it; see {broker.folder}")
        try:
            broker.start()
        except BrokerFailed as error:
            self._say(str(error))
            self._broker_retry_at = time.monotonic() + _BROKER_RETRY_SECONDS
            return
        if broker.brokers != self._settings.brokers:
            self._move(broker.brokers)

    def _move(self, brokers: str) -> None:
        """Restart the children: another program took the broker's port while it was away."""
        self._say(f"Kafka listens on {brokers} now; restarting the processes")
        self._settings.brokers = brokers
        self._plan.environment["LINKSTATUS_BROKERS"] = brokers
        data_folder.write_note(self._settings.data_dir, self._plan.environment)
        self._supervisor.stop(STOP_SECONDS)

    @contextlib.contextmanager
    def _status_line(self) -> Iterator[Callable[[str], None]]:
        """Show one line that changes on a terminal, else print each change."""
        last = ""

        def print_change(text: str) -> None:
            nonlocal last
            if text != last:
                self._say(text)
            last = text

        if not self._console.is_terminal:
            yield print_change
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            yield lambda text: live.update(text, refresh=True)

    def _announce(self, plan: Plan) -> None:
        url, data = self._settings.edge_url, self._settings.data_dir
        token = plan.environment["LINKSTATUS_BOARD__TOKEN"]
        lines = [
            f"page      {url}/?token={token}",
            f"callbacks {url}/callbacks/{{provider}}",
            f"token     {token}  (the page's address signs a browser in; programs send a bearer)",
            f"kafka     {plan.environment['LINKSTATUS_BROKERS']}",
            f"sandbox   {self._settings.sandbox_address().url}"
            f"  simulates {', '.join(plan.simulated) or 'no provider'}",
            f"data      {data}, logs in {data / 'logs'}",
            "probes    "
            + "  ".join(f"{child.name} :{child.address.port}" for child in plan.children),
            "try       linkstatus sandbox play --links 20     (Ctrl-C stops everything)",
        ]
        self._say("\n".join(lines))
