"""`linkstatus up`: everything on one machine, kept running, ended in order."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

from rich.console import Console
from rich.live import Live

from connectors.kafka import Cluster
from streams import admin, child, running, schema_ids, wiring
from streams.embedded import Broker, BrokerFailed
from streams.flow import Gauge
from streams.plan import Plan, plan
from streams.schema_registry import Registry
from streams.settings import BadSettings, Settings
from streams.supervisor import Supervisor

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What is stopped after what, and the seconds each may take; with the broker less than ten.
_STOP_ORDER = (
    (("sandbox",), 1.0),
    (("web",), 1.5),
    (("lookup", "settle"), 1.5),
    (("work",), 2.0),
)
_STOP_SECONDS = 9.5
_BROKER_RETRY_SECONDS = 5.0
_TEND_SECONDS = 0.1
# After this long, what is ready is announced without the rest.
_PATIENCE_SECONDS = 45.0
_LIVE_SECONDS = 1.0
_PLAIN_SECONDS = 5.0
# Where Kafka usually is; another port if somebody has it.
_KAFKA_PORT = 9092


class _Ended(BaseException):
    """A signal: no error, and nothing on the way may swallow it."""


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Leaves the block quietly at the first signal; later ones change nothing any more."""

    def end(_: int, __: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise _Ended

    for number in _SIGNALS:
        # `nohup` set it to be ignored, and means it.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    except _Ended:
        pass
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def run(settings: Settings, port: int | None, with_sandbox: bool, seconds: float | None) -> None:
    """Runs the system until a signal, or for `seconds` from when it is ready."""
    settings.data_dir = settings.data_dir.resolve()
    wanted = settings.http.port if port is None else port
    settings.http.port = _free(wanted)
    kafka_port = _KAFKA_PORT
    if wanted == 0:
        # Two that start at the same moment would both find the usual ports free.
        kafka_port = settings.sandbox.port = 0
    with running.holding(settings.data_dir):
        up = _Up(settings, with_sandbox, kafka_port)
        try:
            with _ending_on_signals():
                up.start()
                up.watch(seconds)
        finally:
            up.stop()


def _free(port: int) -> int:
    found = child.free_port(port)
    if port not in (0, found):
        raise OSError(f"port {port} is in use; choose another with --port")
    return found


class _Up:
    def __init__(self, settings: Settings, with_sandbox: bool, kafka_port: int) -> None:
        self._settings = settings
        self._kafka_port = kafka_port
        self._with_sandbox = with_sandbox
        self._console = Console(highlight=False)
        self._broker: Broker | None = None
        self._broker_retry_at = 0.0
        self._supervisor: Supervisor | None = None
        self._gauge: Gauge | None = None

    def start(self) -> None:
        """Starts the broker, makes the topics and prepares the children."""
        cluster = self._cluster()
        s = self._settings
        made = admin.create(cluster, wiring.topics(), s.partitions, s.replication)
        self._say(f"topics: {len(made)} made, {len(wiring.topics()) - len(made)} there already")
        for problem in admin.check(cluster, wiring.topics(), s.partitions, s.replication):
            self._say(f"topic {problem}")
        schema_ids.note_own(cluster)
        if s.schema_registry_url:
            with Registry(s.schema_registry_url) as registry:
                ids = registry.register(wiring.topics(), s.topic_prefix)
            self._say(f"schemas: {len(ids)} in the registry")
        self._plan = plan(s, cluster, self._with_sandbox)
        running.note(s.data_dir, self._plan.environment)
        self._supervisor = Supervisor(self._plan.children, self._say)
        self._gauge = Gauge(s.database(), self._plan.port("web"), self._plan.port("work"))

    def watch(self, seconds: float | None) -> None:
        """Tends the children and shows what flows."""
        announced, next_look, ends_at = False, 0.0, float("inf")
        patience_ends = time.monotonic() + _PATIENCE_SECONDS
        with self._display() as show:
            while (now := time.monotonic()) < ends_at:
                self._tend()
                if now >= next_look:
                    unready = self._unready()
                    if not announced and (not unready or now > patience_ends):
                        announced = True
                        self._announce(self._plan)
                        ends_at = now + seconds if seconds is not None else ends_at
                    show(unready)
                    live = self._console.is_terminal or not announced
                    next_look = now + (_LIVE_SECONDS if live else _PLAIN_SECONDS)
                time.sleep(_TEND_SECONDS)

    def stop(self) -> None:
        """Ends all that was started, in order; what does not end in its time is killed."""
        if not (self._broker or self._supervisor):
            return
        self._say("stopping …")
        started = time.monotonic()
        killed = self._supervisor.stop(_STOP_ORDER) if self._supervisor else []
        if self._broker:
            self._broker.stop(started + _STOP_SECONDS - time.monotonic())
        if self._gauge:
            self._gauge.close()
        forced = f" ({', '.join(killed)} had to be killed)" if killed else ""
        self._say(f"stopped after {time.monotonic() - started:.1f} s{forced}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def _cluster(self) -> Cluster:
        protocol = self._settings.security.protocol
        if self._settings.brokers is not None:
            wiring.reach(self._settings)
        elif protocol != "PLAINTEXT":
            raise BadSettings(
                f"LINKSTATUS_SECURITY__PROTOCOL is {protocol}, but LINKSTATUS_BROKERS is not set, "
                "and the embedded broker speaks PLAINTEXT"
            )
        else:
            port = child.free_port(self._kafka_port)
            self._broker = Broker(self._settings.data_dir, port=port, say=self._say)
            self._say("starting Apache Kafka …")
            self._broker.start()
            self._settings.brokers = self._broker.brokers
        return self._settings.cluster()

    def _tend(self) -> None:
        if self._supervisor:
            self._supervisor.tend()
        broker = self._broker
        if broker is None or broker.running() or time.monotonic() < self._broker_retry_at:
            return
        self._say(f"the broker ended; starting it again; see {broker.folder}")
        try:
            broker.start()
        except BrokerFailed as error:
            self._say(str(error))
            self._broker_retry_at = time.monotonic() + _BROKER_RETRY_SECONDS

    def _unready(self) -> list[str]:
        gauge = self._gauge
        return [one.name for one in self._plan.children if gauge and not gauge.ready(one.port)]

    @contextlib.contextmanager
    def _display(self) -> Iterator[Callable[[list[str]], None]]:
        """One line that changes where there is a terminal, else a line each time."""
        gauge = self._gauge
        assert gauge  # noqa: S101 (for the type checker)

        def text(unready: list[str]) -> str:
            return f"waiting for {', '.join(unready)}" if unready else str(gauge.read())

        if not self._console.is_terminal:
            yield self._new(text)
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            yield lambda unready: live.update(text(unready), refresh=True)

    def _new(self, text: Callable[[list[str]], str]) -> Callable[[list[str]], None]:
        """Says a text only when it is not the one said before."""
        last = ""

        def show(unready: list[str]) -> None:
            nonlocal last
            if (now := text(unready)) != last:
                self._say(now)
                last = now

        return show

    def _announce(self, the: Plan) -> None:
        url, data = self._settings.edge_url, self._settings.data_dir
        token = the.environment["LINKSTATUS_BOARD__TOKEN"]
        lines = [
            f"page      {url}/?token={token}",
            f"callbacks {url}/callbacks/{{provider}}",
            f"token     {token}  (that address signs a browser in; programs send it as bearer)",
            f"kafka     {the.environment['LINKSTATUS_BROKERS']}",
            f"sandbox   http://127.0.0.1:{self._settings.sandbox.port}"
            f"  simulates {', '.join(the.simulated) or 'nothing'}",
            f"data      {data}, logs in {data / 'logs'}",
            "probes    " + "  ".join(f"{one.name} :{one.port}" for one in the.children),
            "try       linkstatus sandbox play --links 20     (Ctrl-C ends everything)",
        ]
        self._say("\n".join(lines))
