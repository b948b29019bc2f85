"""The job of every engine: our handlers, rules and codecs, without our engine.

An engine gives a `Record` and a `FakeBatch` to a handler. Then it sends the batch's outputs and
stores its rows under the key of the record, in its own way.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pydantic import SecretStr

from connectors.providers.base import Provider
from connectors.providers.ipint import IPintConfig
from connectors.providers.ping import PingConfig
from connectors.providers.registry import PROVIDERS
from schemas import topics
from schemas.headers import Headers
from schemas.topics import Topic
from streams.agents.agent import Agent
from streams.agents.stages import agents, inputs
from streams.domain.polling import Intervals
from streams.domain.rules import ProviderRules
from streams.engine.batch import Fact, Output
from tests.support.codecs import CODECS

# The stages in their order, with their inputs.
INPUTS: Mapping[str, tuple[Topic[Any], ...]] = inputs(PROVIDERS)
# The environment of our own worker: the same rules, and no polling, which the other engines lack.
ENVIRONMENT = {
    "LINKSTATUS_PROVIDERS": ",".join(PROVIDERS),
    "LINKSTATUS_PING__TENANT_ID": "bench",
    "LINKSTATUS_PING__API_SECRET": "bench",
    "LINKSTATUS_IPINT__API_KEY": "bench",
    "LINKSTATUS_IPINT__API_SECRET": "bench",
    # Without it, TrueLayer's signature, one for all its customers, would not show that a link is
    # ours.
    "LINKSTATUS_TRUELAYER__PATH_TOKEN": "bench-bench-bench-bench",
    "LINKSTATUS_POLLING__FIRST_SECONDS": "100000000",
    "LINKSTATUS_POLLING__LONGEST_SECONDS": "100000000",
    # The records are of January: what nothing vouches for must stay, as the rules alone leave it.
    "LINKSTATUS_POLLING__FORGET_SECONDS": "100000000",
}

Handler = Callable[[Any, Any], None]


class _Rows(Protocol):
    def get(self, key: bytes, /) -> Any: ...


def providers() -> dict[str, Provider]:
    """The providers; Ping and iPint have credentials, so claims cause lookups."""
    secret = SecretStr("bench")
    configs = {
        "ping": PingConfig(tenant_id="bench", api_secret=secret),
        "ipint": IPintConfig(api_key=secret, api_secret=secret),
    }
    return {name: kind(configs.get(name) or kind.Config()) for name, kind in PROVIDERS.items()}


def rules() -> dict[str, ProviderRules]:
    """The rules of our own worker with `ENVIRONMENT`."""
    known = providers()
    return {
        name: ProviderRules(
            order_from=kind.Config.model_fields["order_from"].default,
            settlement=kind.settlement,
            polling=kind.polling,
            final_after_end=kind.final_after_end,
            can_look_up=known[name].can_look_up(),
            answers_refunds=kind.answers_refunds,
        )
        for name, kind in PROVIDERS.items()
    }


def stage_agents() -> dict[str, Agent]:
    """The agent of each stage."""
    return agents(CODECS, providers(), rules(), Intervals())


def handlers() -> dict[str, Handler]:
    """The handler of each step."""
    return {name: agent.on_fact for name, agent in stage_agents().items()}


class Record:
    """A consumed record in the form that handlers use, from any client."""

    __slots__ = ("_headers", "_key", "_offset", "_partition", "_timestamp", "_topic", "_value")

    def __init__(
        self,
        topic: str,
        partition: int,
        offset: int,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
    ) -> None:
        self._topic, self._partition, self._offset = topic, partition, offset
        self._timestamp, self._key, self._value, self._headers = timestamp, key, value, headers

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, self._timestamp

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> Headers:
        return self._headers


class AnyPartition(dict[int, Any]):
    """One table that stands for all partitions."""

    def __init__(self, table: Any) -> None:
        super().__init__()
        self._table = table

    def __missing__(self, number: int) -> Any:
        return self._table


class FakeBatch:
    """Stands in for the engine's batch: keeps what a handler sends and writes."""

    __slots__ = ("_prefix_length", "_stage", "outputs", "rows", "tables")

    def __init__(self, stage: str, prefix: str, tables: Mapping[int, _Rows]) -> None:
        self._stage = stage
        self._prefix_length = len(prefix)
        self.tables = {stage: tables}
        self.outputs: list[Output] = []
        self.rows: dict[tuple[int, bytes], Any] = {}

    def handle(self, handler: Handler, record: Any) -> None:
        """Handle a record; dead-letter it if the handler raises."""
        mark = len(self.outputs)
        try:
            handler(self, Fact(record, record.partition(), record.key()))
        except Exception as error:
            del self.outputs[mark:]
            self.dead_letter(record, self._stage, error)

    def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None
    ) -> None:
        self.outputs.append(Output(topic, key, value, headers))

    def hand_on(self, *_: Any) -> bool:
        """Hand nothing on in memory: the other engines have a topic between two steps."""
        return False

    def put(self, step: str, partition: int, key: bytes, row: Any) -> None:
        self.rows[partition, key] = row

    def on_commit(self, call: Any) -> None:
        """Ignored: only the worker has metrics."""

    def dead_letter(self, record: Any, step: str, error: Exception) -> None:
        reason = str(error) or repr(error)
        headers: Headers = [
            *record.headers(),
            ("stage", step.encode()),
            ("reason", reason.encode()[:1000]),
            ("origin", self.origin(record).encode()),
        ]
        self.send(topics.DEAD_LETTERS.name, record.key(), record.value(), headers)

    def topic(self, record: Any) -> str:
        name: str = record.topic()
        return name[self._prefix_length :]

    def origin(self, record: Any) -> str:
        return f"{self.topic(record)}/{record.partition()}/{record.offset()}"
