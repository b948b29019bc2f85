"""A lookup executor at work, between a fake or a real Kafka and iPint's API."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx

from connectors.kafka.cluster import Cluster
from connectors.kafka.publisher import Publisher
from connectors.kafka.task_consumer import TaskConsumer
from connectors.lookup.executor import LookupExecutor
from connectors.lookup.jobs import LookupLimits
from connectors.providers.base import Provider
from connectors.providers.ipint import IPint, IPintConfig
from schemas.codec import LOOKUP_REQUEST, Codecs
from schemas.records import LookupReason, LookupRequest, Status
from tests.support.codecs import CODECS
from tests.support.fakes import FakePublisher, Published
from tests.support.reading import write_all
from tests.support.running import Answers, Working, client_of, running

QUICK = LookupLimits(
    per_second=10_000,
    unissued_per_minute=600_000,
    timeout=10,
    claim_pauses=(0.01, 0.02),
    retry_pauses=(0.001, 0.01),
    breaker_pauses=(0.001, 0.01),
)
AMOUNTS = {
    f"{side}_{measure}": "10.00"
    for side in ("invoice", "received")
    for measure in ("amount_in_local_currency", "amount_in_usd", "crypto_amount")
}


def invoice(link_id: str, status: str, **amounts: str) -> bytes:
    fields = {"invoice_id": link_id, "transaction_status": status, "local_currency_code": "EUR"}
    return json.dumps({"data": {**fields, **AMOUNTS, **amounts}}).encode()


class Api:
    """iPint's API: answers each link in turn with the status of its invoice, the body of a 200, an
    HTTP status or an error, then with the last one again.
    """

    def __init__(self, **answers: Sequence[str | bytes | int | Exception]) -> None:
        self.answers = {link: list(statuses) for link, statuses in answers.items()}
        self.requested: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def answer(self, request: httpx.Request) -> httpx.Response:
        link = request.url.params["id"]
        self.requested.append(link)
        await self.gate.wait()
        answers = self.answers.get(link, ["CHECKING"])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return httpx.Response(answer, headers={"retry-after": "0"} if answer == 429 else {})
        body = answer if isinstance(answer, bytes) else invoice(link, answer)
        return httpx.Response(200, content=body)


def request(
    link: str,
    claimed: Status | None = None,
    *,
    reason: LookupReason = "CLAIM",
    issued: bool = True,
    provider: str = "ipint",
    at: int = 1,
) -> bytes:
    record: LookupRequest = {
        "request_id": "r",
        "provider": provider,
        "link_id": link,
        "reason": reason,
        "claimed_status": claimed,
        "payment_id": None,
        "refund": None,
        "issued": issued,
        "requested_at": at,
    }
    return CODECS.encode(LOOKUP_REQUEST, record)


class Asking(Working):
    """An executor at work."""

    def __init__(self, executor: LookupExecutor, publisher: FakePublisher) -> None:
        super().__init__(executor.handle, publisher)
        self.executor = executor

    async def take(
        self, value: bytes, key: bytes | None = b"ipint:x", sender: str | None = None
    ) -> None:
        headers = [] if sender is None else [("sender", sender.encode())]
        await self.work_on("lookups", key, value, headers)

    async def finished(self) -> list[Published]:
        """Return the answers, once all requests are finished."""
        await self.end()
        return self.publisher.of("callbacks.ipint")


def new_ipint(configured: bool = True) -> IPint:
    keys = {"api_key": "key", "api_secret": "s3cret"} if configured else {}
    return IPint(IPintConfig.model_validate({"api_url": "http://ipint.test", **keys}))


@asynccontextmanager
async def asking(
    api: Answers,
    limits: LookupLimits = QUICK,
    provider: Provider | None = None,
    codecs: Codecs = CODECS,
) -> AsyncIterator[Asking]:
    publisher, names = FakePublisher(), frozenset({"ipint", "ping"})
    async with client_of(api) as client:
        executor = LookupExecutor(provider or new_ipint(), client, publisher, codecs, limits, names)
        async with running(executor.run):
            yield Asking(executor, publisher)


class LookupProcess:
    """The parts of the process `lookup` for iPint on a real cluster."""

    def __init__(self, executor: LookupExecutor, consumer: TaskConsumer, cluster: Cluster) -> None:
        self.executor = executor
        self.consumer = consumer
        self._cluster = cluster

    def ask(self, *links: str) -> None:
        polls = [(b"ipint:" + k.encode(), request(k, reason="POLL")) for k in links]
        write_all(self._cluster, "lookups", polls)


@asynccontextmanager
async def looking_up(
    cluster: Cluster, api: Answers, limits: LookupLimits = QUICK, codecs: Codecs = CODECS
) -> AsyncIterator[LookupProcess]:
    publisher = Publisher(cluster)
    async with client_of(api) as client:
        executor = LookupExecutor(new_ipint(), client, publisher, codecs, limits)
        consumer = TaskConsumer(
            cluster,
            "lookup-ipint",
            ["lookups"],
            executor.handle,
            executor.capacity,
            executor.in_work,
        )
        async with running(publisher.run, executor.run, consumer.run):
            yield LookupProcess(executor, consumer, cluster)


def finals(records: list[Published]) -> list[bool]:
    return [record.headers.get("lookup-final") == b"1" for record in records]
