"""The job every engine does: our own handlers, rules and codecs, with nothing of our engine.

An engine gives a handler a `Taken` record and a `Hand`, and does with what the hand then holds as
is its own way: outputs are to be sent, rows to be kept under the record's key.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pydantic import SecretStr

from connectors.ipint import IPintConfig
from connectors.ping import PingConfig
from connectors.provider import Provider
from connectors.registry import PROVIDERS
from schemas import topics
from schemas.topics import Topic
from streams.agents.join import Join
from streams.agents.normalize import Normalize
from streams.agents.orders import Orders
from streams.agents.polling import Poller
from streams.agents.track import Track
from streams.domain.polling import Intervals
from streams.domain.rules import ProviderRules
from streams.engine.batch import Headers, Output

_RAW = tuple(topics.callbacks(name) for name in PROVIDERS)
# The stages in their order, with their inputs and their tables.
INPUTS: Mapping[str, tuple[Topic[Any], ...]] = {
    "normalize": (*_RAW, topics.LINKS, topics.ORDER_UPDATES),
    "join": (topics.PAYMENT_EVENTS,),
    "track": (topics.LINK_EVENTS,),
    "orders": (topics.ORDER_EVENTS,),
}
TABLES: Mapping[str, Topic[Any]] = {
    "join": topics.PAYMENTS,
    "track": topics.LINK_STATUS,
    "orders": topics.ORDERS,
}
# What our own worker is told in its environment, to have the same rules; and no polling, which
# would be work that the others do not do.
ENVIRONMENT = {
    "LINKSTATUS_PING__TENANT_ID": "bench",
    "LINKSTATUS_PING__API_SECRET": "bench",
    "LINKSTATUS_IPINT__API_KEY": "bench",
    "LINKSTATUS_IPINT__API_SECRET": "bench",
    "LINKSTATUS_POLLING__FIRST_SECONDS": "100000000",
    "LINKSTATUS_POLLING__LONGEST_SECONDS": "100000000",
}

Handler = Callable[[Any, Any], None]


class _Rows(Protocol):
    def get(self, key: bytes, /) -> Any: ...


def providers() -> dict[str, Provider]:
    """The providers; of Ping and iPint lookups are possible, so that claims ask for them."""
    secret = SecretStr("bench")
    configs = {
        "ping": PingConfig(tenant_id="bench", api_secret=secret),
        "ipint": IPintConfig(api_key=secret, api_secret=secret),
    }
    return {name: kind(configs.get(name) or kind.Config()) for name, kind in PROVIDERS.items()}


def handlers() -> dict[str, Handler]:
    """The handler of each stage."""
    known = providers()
    rules = {
        name: ProviderRules(
            order_from=kind.Config.model_fields["order_from"].default,
            settlement=kind.settlement,
            polls=kind.polls,
            ends_for_good=kind.ends_for_good,
            can_look_up=known[name].can_look_up(),
        )
        for name, kind in PROVIDERS.items()
    }
    return {
        "normalize": Normalize(known),
        "join": Join(),
        "track": Track(rules, Poller(rules, Intervals())),
        "orders": Orders(rules),
    }


class Taken:
    """A consumed record as handlers want it, whichever client consumed it."""

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


class Hand:
    """Stands in for the engine's batch: what a handler sends and writes lands here."""

    __slots__ = ("_prefix_length", "_stage", "outputs", "rows", "tables")

    def __init__(self, stage: str, prefix: str, tables: Mapping[int, _Rows]) -> None:
        self._stage = stage
        self._prefix_length = len(prefix)
        self.tables = tables
        self.outputs: list[Output] = []
        self.rows: dict[tuple[int, bytes], Any] = {}

    def do(self, handle: Handler, record: Any) -> None:
        """Handles a record; one that raises is dead-lettered."""
        mark = len(self.outputs)
        try:
            handle(self, record)
        except Exception as error:
            del self.outputs[mark:]
            self.dead_letter(record, error)

    def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None
    ) -> None:
        self.outputs.append(Output(topic, key, value, headers))

    def put(self, partition: int, key: bytes, row: Any) -> None:
        self.rows[partition, key] = row

    def count(self, counting: Any) -> None:
        """Figures for Prometheus are the worker's own."""

    def dead_letter(self, record: Any, error: Exception) -> None:
        reason = str(error) or repr(error)
        headers: Headers = [
            *record.headers(),
            ("stage", self._stage.encode()),
            ("reason", reason.encode()[:1000]),
            ("origin", self.origin(record).encode()),
        ]
        self.send(topics.DEAD_LETTERS.name, record.key(), record.value(), headers)

    def topic(self, record: Any) -> str:
        name: str = record.topic()
        return name[self._prefix_length :]

    def origin(self, record: Any) -> str:
        return f"{self.topic(record)}/{record.partition()}/{record.offset()}"
