"""What surrounds the workers: providers that repeat, an edge that may crash, lookups, settlements.

They are simple stand-ins for `receive`, `lookup` and `settle`, whose code does not run here. What
they publish has the keys and headers of the real ones.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from connectors.providers import raw
from connectors.providers.base import Provider
from schemas import link_form
from schemas.codec import LINK_REGISTERED, LOOKUP_REQUEST, ORDER_CLOSE, ORDER_UPDATE
from schemas.headers import Headers
from schemas.link_form import LinkForm
from schemas.records import OrderStep, OrderUpdate
from schemas.topics import LINKS, LOOKUPS, ORDER_UPDATES, Topic, callbacks, message_key
from schemas.topics import ORDER_CLOSE as CLOSES
from tests.chaos.ledger import Ledger, Sent
from tests.chaos.sandbox import Doc
from tests.chaos.traffic import Sending
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.log import Entry
from tests.simulation.producer import SimulatedProducer
from tests.simulation.providers import Providers
from tests.simulation.scheduler import Process
from tests.support.codecs import CODECS

# A provider or merchant without an answer sends again.
_PATIENCE_SECONDS = 2.0
_POLL_SECONDS = 0.1
_ANSWER_LOST = 0.03
_STEPS: tuple[OrderStep, ...] = ("CLOSED", "SPLIT", "SETTLED")
_OPERATIONS = ("close", "split", "settle")


class Publisher:
    """A process that publishes, and calls back once a record is acknowledged."""

    def __init__(self, kafka: SimulatedKafka, name: str) -> None:
        self.process = Process(kafka.scheduler, name)
        self._producer = SimulatedProducer(self.process, kafka, {})

    def publish(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: Headers,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        self._producer.produce(
            topic,
            value,
            key,
            headers=headers,
            on_delivery=lambda error, _: done() if error is None else None,
        )


class Edge:
    """Takes callbacks and registrations. `ledger` is what their senders know."""

    def __init__(self, kafka: SimulatedKafka, providers: Providers, random: Random) -> None:
        self.ledger = Ledger()
        self._kafka, self._providers, self._random = kafka, providers, random
        self._publisher = Publisher(kafka, "edge")
        # How many senders have no answer yet.
        self.waiting = 0

    def kill(self, seconds: float) -> None:
        """Kill the edge, and start it again after this time."""
        self._publisher.process.kill()

        def start() -> None:
            self._publisher = Publisher(self._kafka, "edge")

        self._kafka.scheduler.later(seconds, start)

    def _trace(self) -> tuple[str, Headers]:
        trace = f"{self._random.getrandbits(128):032x}"
        return trace, [
            ("traceparent", f"00-{trace}-{self._random.getrandbits(64):016x}-01".encode())
        ]

    def _until_acked(self, attempt: Callable[[Callable[[], None]], None]) -> None:
        """Call `attempt` with what takes its answer, until an answer comes."""
        scheduler, answered = self._kafka.scheduler, False
        self.waiting += 1

        def answer() -> None:
            nonlocal answered
            if not answered and self._random.random() >= _ANSWER_LOST:
                answered = True
                self.waiting -= 1

        def again() -> None:
            if not answered:
                if self._publisher.process.is_alive:
                    attempt(answer)
                scheduler.later(_PATIENCE_SECONDS * (1 + self._random.random()), again)

        again()

    def register(self, registration: Doc, now: int) -> None:
        record = link_form.registration(LinkForm(**registration), self._providers.by_name, now)
        key = message_key(record["provider"], record["link_id"])
        value = CODECS.encode(LINK_REGISTERED, record)

        def attempt(answer: Callable[[], None]) -> None:
            trace, headers = self._trace()

            def done() -> None:
                self.ledger.registered[trace] = record["provider"], record["link_id"]
                answer()

            self._publisher.publish(LINKS.name, key, value, headers, done)

        self._until_acked(attempt)

    def take(self, sending: Sending) -> None:
        """Take a callback. A forged one is refused: its signature is not simulated."""
        provider, callback = self._providers.by_name[sending.provider], sending.callback
        sent = Sent(provider.name, callback.body)
        if sending.kind == "forged":
            self.ledger.record(self._trace()[0], sent, 401, sending.kind)
            return

        def attempt(answer: Callable[[], None]) -> None:
            trace, headers = self._trace()

            def done() -> None:
                self.ledger.record(trace, sent, 200, sending.kind)
                answer()

            kept = _headers(provider, callback.content_type)
            topic, key = callbacks(provider.name).name, _key(provider, sending)
            self._publisher.publish(topic, key, callback.body, kept + headers, done)

        self._until_acked(attempt)


def _headers(provider: Provider, content_type: str) -> Headers:
    is_signed = provider.name in ("peach", "truelayer")
    return raw.headers(provider.name, "callback", is_signed, content_type)


def _key(provider: Provider, sending: Sending) -> bytes | None:
    try:
        identifier = provider.key(sending.callback.body, sending.callback.content_type)
    except Exception:
        return None
    return message_key(provider.name, identifier) if identifier else None


class Follower:
    """Calls `handle` with each committed record of a topic, once, in the order of its partition."""

    def __init__(
        self, kafka: SimulatedKafka, topic: Topic[Any], handle: Callable[[Entry], None]
    ) -> None:
        self._kafka, self._handle = kafka, handle
        self._logs = kafka.topics[topic.name]
        self._next = [0] * len(self._logs)
        self._poll()

    @property
    def is_at_end(self) -> bool:
        return all(at >= log.end for at, log in zip(self._next, self._logs, strict=True))

    def _poll(self) -> None:
        for number, log in enumerate(self._logs):
            entries, self._next[number] = log.read(self._next[number], 1000, True)
            for entry in entries:
                self._handle(entry)
        self._kafka.scheduler.later(_POLL_SECONDS, self._poll)


class Services:
    """Lookups and settlements. `now` returns the simulated time in microseconds. `operations` is
    what the provider Ping has seen.
    """

    def __init__(
        self,
        kafka: SimulatedKafka,
        providers: Providers,
        random: Random,
        now: Callable[[], int],
    ) -> None:
        self.operations: list[Doc] = []
        self._providers, self._random, self._now = providers, random, now
        self._publisher = Publisher(kafka, "services")
        self._waiting = 0
        self._settled: set[str] = set()
        self._followers = [
            Follower(kafka, LOOKUPS, self._look_up),
            Follower(kafka, CLOSES, self._settle),
        ]

    @property
    def is_idle(self) -> bool:
        return not self._waiting and all(each.is_at_end for each in self._followers)

    def _publish(self, seconds: float, publish: Callable[[Callable[[], None]], None]) -> None:
        """Publish after some seconds. Until it is acknowledged, the services are not idle."""
        self._waiting += 1

        def done() -> None:
            self._waiting -= 1

        self._publisher.process.later(seconds, lambda: publish(done))

    def _look_up(self, entry: Entry) -> None:
        assert entry.record is not None
        request = CODECS.decode(LOOKUP_REQUEST, entry.record.value)
        name = request["provider"]
        key = message_key(name, request["link_id"])

        def publish(done: Callable[[], None]) -> None:
            answer = self._providers.look_up(request, self._now())
            headers = raw.answer_headers(request, answer.status, final=True)
            self._publisher.publish(callbacks(name).name, key, answer.body, headers, done)

        # Sometimes the provider is slow.
        slow = self._random.random() < 0.1
        self._publish(self._random.uniform(0.01, 5 if slow else 0.2), publish)

    def _settle(self, entry: Entry) -> None:
        """Close, split and settle an order at Ping, and report each step."""
        assert entry.record is not None
        close = CODECS.decode(ORDER_CLOSE, entry.record.value)
        name, order_id = close["provider"], close["order_id"]
        if self._providers.by_name[name].settlement != "by_order" or order_id in self._settled:
            return
        self._settled.add(order_id)
        for place, step in enumerate(_STEPS):
            update: OrderUpdate = {
                "provider": name,
                "order_id": order_id,
                "step": step,
                "reason": None,
                "at": self._now(),
            }
            operation = {"operation": _OPERATIONS[place], "order_id": order_id}
            self.operations.append({**operation, "answer": 204, "repeated": False})
            value = CODECS.encode(ORDER_UPDATE, update)
            key = message_key(name, order_id)

            def publish(done: Callable[[], None], key: bytes = key, value: bytes = value) -> None:
                self._publisher.publish(ORDER_UPDATES.name, key, value, [], done)

            self._publish(0.05 + 0.1 * place, publish)
