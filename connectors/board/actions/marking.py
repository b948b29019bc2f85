"""Marks on anomalies and dead letters: a person resolves or reopens them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from confluent_kafka import KafkaException
from pydantic import Field
from starlette.requests import Request

from connectors.board.board import Board
from connectors.board.database import anomalies, dead_letters, notices
from connectors.board.database.store import Store
from connectors.board.http.action_parameters import Marker
from connectors.board.http.refusal import Refused
from connectors.board.models import Count
from connectors.clock import micros_now
from connectors.kafka.sync_producer import NotAcknowledged
from connectors.reasons import reason_of
from connectors.triage import audit
from connectors.triage.audit import Mark
from schemas.records import Anomaly, Notice

# One call publishes at most so many marks.
MOST = 5_000
WAIT_SECONDS = 3.0
_CHECK_SECONDS = 0.05


class NotMarked(Refused):
    """Kafka did not take the marks."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Marked:
    """How many were marked."""

    marked: Count
    remaining: Annotated[Count, Field(description="Those beyond what one call marks.")]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of row to mark: how to select rows by a filter, and the notice of a mark on one.
    `groups` counts the open rows by two of their properties. Blocking.
    """

    search: Callable[..., Sequence[Any]]
    count: Callable[..., int]
    groups: Callable[[Store, Any], list[tuple[str, str, int]]]
    notice: Callable[[Any, Mark], Notice]


def _anomalies(store: Store, filters: Mapping[str, Any], *, show: str, limit: int) -> list[Anomaly]:
    page = anomalies.search(store, filters, show=show, limit=limit)
    return [anomaly for anomaly, _ in page.rows]


ANOMALIES = Kind(_anomalies, anomalies.count, anomalies.count_open_by_kind, audit.anomaly_marked)
DEAD_LETTERS = Kind(
    *(dead_letters.search_without_bodies, dead_letters.count),
    partial(dead_letters.count_by_reason, show="open"),
    audit.dead_letter_marked,
)


async def mark_all(
    board: Board, request: Request, kind: Kind, form: Marker, *, resolved: bool
) -> Marked:
    """Resolve the open rows of this kind, or reopen the resolved ones. Raises NotMarked."""
    selection = (board.store, form.filter())
    show = "open" if resolved else "resolved"
    mark = Mark(resolved, form.who(request), micros_now(), form.note)
    chosen = await asyncio.to_thread(kind.search, *selection, show=show, limit=MOST)
    total = await asyncio.to_thread(kind.count, *selection, show=show)
    marks = [kind.notice(row, mark) for row in chosen]
    try:
        await asyncio.to_thread(board.publish, marks)
    except (NotAcknowledged, KafkaException) as error:
        raise NotMarked(
            f"Kafka does not take it now, nothing is marked: {reason_of(error)}"
        ) from error
    if marks:
        await _wait_until_stored(board.store, marks[-1])
    return Marked(len(marks), max(0, total - len(marks)))


async def _wait_until_stored(store: Store, mark: Notice) -> None:
    """Wait a short time until the board has read the mark, so that the next page shows it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_SECONDS
    while loop.time() < deadline:
        if await asyncio.to_thread(notices.is_stored, store, mark["event_id"]):
            return
        await asyncio.sleep(_CHECK_SECONDS)
