"""Asks a provider's API one question, and says what kind of answer came."""

import logging
import time
import uuid

import httpx

from connectors.clock import micros_now
from connectors.lane import CallFailed
from connectors.lookup.questions import ENDINGS, Question
from connectors.outward import UNREACHED, converse, retry_after
from connectors.provider import Answer, LookupRefused, Provider, Raw
from schemas.records import LookupRequest

log = logging.getLogger(__name__)


async def ask(provider: Provider, client: httpx.AsyncClient, request: LookupRequest) -> Answer:
    """The provider's answer. Raises CallFailed when a later try may bring one."""
    try:
        return await converse(client, provider.lookup(request, micros_now()))
    except LookupRefused as error:
        raise CallFailed(str(error), retry_after(error.response)) from error
    except UNREACHED as error:
        raise CallFailed(f"{provider.name}: {error!r}") from error


def headers(
    provider: Provider, question: Question, answer: Answer, final: bool
) -> list[tuple[str, bytes]]:
    """The headers of the answer's record."""
    request = question.request
    texts = {
        "provider": provider.name,
        "source": question.source,
        "verified": "1",
        "received-at": str(time.time_ns() // 1_000_000),
        "content-type": "application/json",
        "callback-id": uuid.uuid4().hex,
        "lookup-link": request["link_id"],
        "lookup-reason": request["reason"],
        "lookup-status": str(answer.status),
    }
    if claimed := request["claimed_status"]:
        texts["lookup-claim"] = claimed
        if final:
            texts["lookup-final"] = "1"
    return [*((name, text.encode()) for name, text in texts.items()), *question.trace]


def conclusive(provider: Provider, question: Question, answer: Answer) -> bool:
    """Whether the provider itself says that the link has ended, or knows no such link."""
    if answer.status >= 400:
        return True
    request = question.request
    raw = Raw(
        provider=provider.name,
        body=answer.body,
        headers={n: v.decode() for n, v in headers(provider, question, answer, False)},
        source=question.source,
        verified=True,
        received_at=micros_now(),
        origin="",
        link_id=request["link_id"],
        claimed_status=request["claimed_status"],
    )
    try:
        events = provider.read(raw).events
    except Exception as error:
        # What is wrong with it becomes a dead letter where the record is read; here it confirms
        # nothing.
        log.info("%s: an answer that cannot be read: %s", provider.name, error)
        return False
    return any(e["status"] in ENDINGS or e["coverage"] is not None for e in events)
