"""What is a stall, and what only looks like one. On a real broker, with seconds to the end."""

import asyncio
import time
from collections.abc import Callable

import httpx
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import GroupAuthorizationFailedError

from connectors.kafka import progress as progress_module
from connectors.kafka.cluster import Cluster
from connectors.kafka.progress import Partition, Progress, Source, Stalled, Trouble
from connectors.kafka.task import Task
from connectors.lookup.executor import LookupExecutor
from connectors.lookup.jobs import LookupLimits
from tests.connectors.lookup import harness as lookups
from tests.connectors.lookup.harness import LookupProcess, looking_up
from tests.support.ports import free_port
from tests.support.reading import write_all
from tests.support.waiting import until, until_threaded

pytestmark = pytest.mark.kafka

_STALL_SECONDS = 2.0
# Failed calls are repeated at once, or never within a test.
QUICK = lookups.QUICK
SLOW = LookupLimits(per_second=100, unissued_per_minute=60, timeout=9, retry_pauses=(900, 900))


def progress_of(process: LookupProcess, cluster: Cluster) -> Progress:
    return Progress(cluster, [process.consumer.source()], _STALL_SECONDS)


async def stall(progress: Progress) -> str:
    """Check until a source has stalled; return the reason."""
    await until_threaded(lambda: progress.check() is not None, "a stall")
    reason = progress.why_not()
    assert reason is not None
    return reason


async def goes_on(progress: Progress) -> None:
    """Check for longer than the time to the end, and often enough for it."""
    end, checks = time.monotonic() + 2 * _STALL_SECONDS, 0
    while time.monotonic() < end or checks < 8:
        assert await asyncio.to_thread(progress.check) is None
        checks += 1


async def test_work_that_waits_for_the_provider_is_no_stall_and_hides_none(kafka: Cluster) -> None:
    api = lookups.Api(slow=[httpx.ConnectError("away")])
    async with looking_up(kafka, api, SLOW) as process:
        progress = progress_of(process, kafka)
        process.ask("slow")
        await until(lambda: api.requested == ["slow"], "the call that fails")
        # Its partition's offset stays, and so it does for what is finished behind it.
        process.ask("slow", "a", "b", "c")
        await until(lambda: set(api.requested) == {"slow", "a", "b", "c"}, "the other calls")
        await goes_on(progress)
        # Behind it a call hangs for ever.
        api.gate.clear()
        process.ask("d")
        await until(lambda: "d" in api.requested, "the call that hangs")
        assert "lookup-ipint: no progress" in await stall(progress)


async def test_provider_that_is_down_is_no_stall(kafka: Cluster) -> None:
    links = [f"i{number}" for number in range(20)]
    down = lookups.Api(**{link: [httpx.ConnectError("away")] for link in links})
    async with looking_up(kafka, down, SLOW) as process:
        progress = progress_of(process, kafka)
        process.ask(*links)
        await until(lambda: len(down.requested) >= 5, "the circuit breaker to open")
        await goes_on(progress)


async def test_defect_that_holds_a_job_up_is_a_stall_with_its_error(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, final: bool) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(LookupExecutor, "_publish", fail)
    async with looking_up(kafka, lookups.Api(), SLOW) as process:
        progress = progress_of(process, kafka)
        process.ask("a")
        assert "a defect of ours" in await stall(progress)


async def test_handler_that_never_returns_is_a_stall(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: object, task: Task) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(LookupExecutor, "handle", hang)
    async with looking_up(kafka, lookups.Api()) as process:
        progress = progress_of(process, kafka)
        process.ask("a")
        assert "no progress" in await stall(progress)


async def test_commit_that_is_refused_is_a_stall_although_work_goes_on(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise GroupAuthorizationFailedError("lookup-ipint")

    monkeypatch.setattr(AIOKafkaConsumer, "commit", refuse)
    api = lookups.Api()
    async with looking_up(kafka, api) as process:
        progress = progress_of(process, kafka)
        process.ask("a")
        await until(lambda: api.requested == ["a"], "the work")
        assert "group authorization failed" in await stall(progress)
        assert process.executor.capacity() == QUICK.max_pending


async def test_idle_process_goes_on_also_behind_finished_work(kafka: Cluster) -> None:
    api = lookups.Api()
    async with looking_up(kafka, api) as process:
        progress = progress_of(process, kafka)
        process.ask("a", "b")
        await until(lambda: set(api.requested) == {"a", "b"}, "the work")
        await goes_on(progress)


def source(
    cluster: Cluster,
    positions: Callable[[object], dict[Partition, int]],
    trouble: Trouble | None = None,
) -> Source:
    topics = [cluster.topic("links")]
    return Source("x", "x", topics, trouble or Trouble(), held=lambda: None, positions=positions)


def unknown(_: object) -> dict[Partition, int]:
    raise RuntimeError("the positions cannot be read")


async def test_unknown_lag_is_a_stall_while_the_broker_answers(kafka: Cluster) -> None:
    progress = Progress(kafka, [source(kafka, unknown)], _STALL_SECONDS)
    reason = await stall(progress)
    assert "its lag is unknown" in reason
    assert "the positions cannot be read" in reason


async def test_unknown_lag_keeps_the_time_of_what_stood_still(kafka: Cluster) -> None:
    write_all(kafka, "links", [(b"k", b"v")])
    known = {(kafka.topic("links"), number): 0 for number in range(2)}
    checks = 0

    def every_other(_: object) -> dict[Partition, int]:
        nonlocal checks
        checks += 1
        return known if checks % 2 else unknown(_)

    await stall(Progress(kafka, [source(kafka, every_other)], _STALL_SECONDS))


async def test_broker_that_is_away_is_not_the_fault_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress_module, "_SECONDS", 0.2)
    away = Cluster(f"127.0.0.1:{free_port()}")
    progress = Progress(away, [source(away, unknown)], 0.01)
    for _ in range(8):
        assert await asyncio.to_thread(progress.check) is None
    assert progress.why_not() is None


async def test_after_an_error_each_partition_must_move(kafka: Cluster) -> None:
    write_all(kafka, "links", [(b"%d" % number, b"v") for number in range(40)])
    stuck, moving = ((kafka.topic("links"), number) for number in range(2))
    read = 0

    def positions(_: object) -> dict[Partition, int]:
        nonlocal read
        read += 1
        return {stuck: 0, moving: read % 10}

    trouble = Trouble()
    progress = Progress(kafka, [source(kafka, positions, trouble)], _STALL_SECONDS)
    await goes_on(progress)
    forever = Trouble("a table cannot be restored", at=time.monotonic() + 3600)
    progress = Progress(kafka, [source(kafka, positions, forever)], _STALL_SECONDS)
    assert "a table cannot be restored" in await stall(progress)


async def test_stall_ends_only_the_part_where_the_process_has_other_work(kafka: Cluster) -> None:
    progress = Progress(kafka, [source(kafka, unknown)], _STALL_SECONDS)
    with pytest.raises(Stalled, match="cannot be read"):
        await progress.run(end_process=False)
    # It goes on to show until the next start has made progress.
    running = asyncio.ensure_future(progress.run(end_process=False))
    await asyncio.sleep(0)
    assert progress.why_not()
    with pytest.raises(Stalled):
        await running
