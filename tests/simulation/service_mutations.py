"""Faults put into the edge, `lookup` and `settle`, one at a time, for the simulation to find."""

import asyncio
from typing import Any
from unittest import mock

from connectors.kafka.task import Task
from connectors.lookup.executor import LookupExecutor
from connectors.providers import api
from connectors.receive.callbacks import CallbackEndpoint
from connectors.settle.executor import SettleExecutor

Patch = Any
# Tasks that nothing else holds.
_PUBLISHING: set[asyncio.Task[None]] = set()


def acknowledge_before_the_record_is_durable() -> list[Patch]:
    """The edge answers 200 while its record is on its way."""

    async def publish(self: CallbackEndpoint, *parts: Any) -> None:
        task = asyncio.create_task(real(self, *parts))
        _PUBLISHING.add(task)
        task.add_done_callback(_PUBLISHING.discard)

    real = CallbackEndpoint._publish
    return [mock.patch.object(CallbackEndpoint, "_publish", publish)]


def commit_a_lookup_before_its_answer() -> list[Patch]:
    """A lookup whose process dies is never made."""

    def enqueue(self: LookupExecutor, request: Any, task: Task, lane: str) -> None:
        task.ack()
        real(self, request, task, lane)

    real = LookupExecutor._enqueue
    return [mock.patch.object(LookupExecutor, "_enqueue", enqueue)]


def commit_a_settlement_before_it_is_reported() -> list[Patch]:
    """A step of a settlement is never made after a crash."""

    def enqueue(self: SettleExecutor, order: Any, task: Task) -> None:
        task.ack()
        real(self, order, task)

    real = SettleExecutor.enqueue
    return [mock.patch.object(SettleExecutor, "enqueue", enqueue)]


def take_a_page_for_a_success() -> list[Patch]:
    """A proxy's page counts as a step of an order (as until 2026-12-01)."""
    return [mock.patch.object(api, "is_page", return_value=False)]


SERVICE_MUTATIONS = (
    acknowledge_before_the_record_is_durable,
    commit_a_lookup_before_its_answer,
    commit_a_settlement_before_it_is_reported,
    take_a_page_for_a_success,
)
