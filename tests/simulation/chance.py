"""Everything that differs from run to run, decided by the seed and the simulated clock."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import _lru_cache_wrapper
from math import inf
from random import Random
from types import SimpleNamespace
from unittest import mock

import aiokafka.client
import httpx
from aiokafka import cluster as aio_cluster
from aiokafka.consumer import fetcher, group_coordinator, subscription_state
from aiokafka.producer import message_accumulator
from fastapi.dependencies import models

from connectors import backoff, clock
from connectors.http import server
from connectors.kafka import assignor, partitioner, progress, publisher, task_consumer
from connectors.receive import callbacks, process, refusals
from streams.agents import polling
from tests.simulation.connection import connect
from tests.simulation.internet import Internet, Transport
from tests.simulation.scheduler import Scheduler
from tests.simulation.services import Server
from tests.simulation.threads import THREADING

_CLOCKS = (
    *(clock, assignor, publisher, task_consumer, progress, callbacks),
    *(aiokafka.client, aio_cluster, fetcher, group_coordinator, subscription_state),
    message_accumulator,
)
_RANDOM = (backoff, partitioner, aiokafka.client, fetcher)


@contextmanager
def only_chance(seed: int, scheduler: Scheduler, micros: Callable[[], int]) -> Iterator[None]:
    """Let ids, times and waiting of the code under test come from the seed and the simulated clock;
    `micros` returns the time of day.
    """
    times = SimpleNamespace(
        time=lambda: micros() / 1e6,
        time_ns=lambda: micros() * 1000,
        monotonic=lambda: scheduler.now,
        perf_counter=lambda: scheduler.now,
    )
    random, ids = Random(f"services {seed}"), Random(f"ids {seed}")
    tokens = SimpleNamespace(token_hex=lambda size: ids.randbytes(size).hex())
    with ExitStack() as patches:
        for module in _CLOCKS:
            patches.enter_context(mock.patch.object(module, "time", times))
        for module in _RANDOM:
            patches.enter_context(mock.patch.object(module, "random", random))
        patches.enter_context(mock.patch("os.urandom", ids.randbytes))
        patches.enter_context(mock.patch.object(refusals, "secrets", tokens))
        # How much a tick does depends on how fast this machine is.
        patches.enter_context(mock.patch.object(polling, "SECONDS_PER_TICK", inf))
        yield


@contextmanager
def only_simulated(internet: Internet, exit_process: Callable[[int], None]) -> Iterator[None]:
    """Let the services reach the simulated cluster and providers, and nothing else."""

    def transport(**_: object) -> Transport:
        return Transport(internet)

    with ExitStack() as patches:
        for name, target, replacement in (
            ("create_conn", aiokafka.client, connect),
            ("threading", progress, THREADING),
            ("os", progress, SimpleNamespace(_exit=exit_process)),
            ("http_server", server, Server),
            ("http_server", process, Server),
            ("AsyncHTTPTransport", httpx._client, transport),
        ):
            patches.enter_context(mock.patch.object(target, name, replacement))
        patches.callback(_forget_endpoints)
        yield


def _forget_endpoints() -> None:
    """Empty FastAPI's caches: each endpoint in them holds the whole run."""
    for cached in vars(models).values():
        if isinstance(cached, _lru_cache_wrapper):
            cached.cache_clear()
