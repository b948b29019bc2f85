"""Asks a provider's API one question, and says what kind of answer came."""

import logging

import httpx

from connectors import recorded
from connectors.clock import micros_now
from connectors.lane import CallFailed
from connectors.lookup.questions import Question
from connectors.outward import UNREACHED, Shared, converse, retry_after
from connectors.provider import Answer, LookupRefused, Provider
from schemas.records import ENDED, LookupRequest

log = logging.getLogger(__name__)


async def ask(
    provider: Provider, client: httpx.AsyncClient, request: LookupRequest, shared: Shared
) -> Answer:
    """The provider's answer. Raises CallFailed when a later try may bring one."""
    try:
        return await converse(client, provider.lookup(request, micros_now()), shared)
    except LookupRefused as error:
        raise CallFailed(str(error), retry_after(error.response)) from error
    except UNREACHED as error:
        raise CallFailed(f"{provider.name}: {error!r}") from error


def headers(
    provider: Provider, question: Question, answer: Answer, final: bool
) -> recorded.Headers:
    """The headers of the answer's record."""
    return [
        *recorded.headers(provider.name, question.source, True, "application/json"),
        *recorded.answer_headers(question.request, answer.status, final),
        *question.trace,
    ]


def conclusive(provider: Provider, question: Question, answer: Answer) -> bool:
    """Whether the provider itself says that the link has ended, or knows no such link."""
    if answer.status >= 400:
        return True
    said = {n: v.decode("latin-1") for n, v in headers(provider, question, answer, False)}
    raw = recorded.read(provider.name, answer.body, said, origin="", at=0)
    try:
        events = provider.read(raw).events
    except Exception as error:
        # What is wrong with it becomes a dead letter where the record is read; here it confirms
        # nothing.
        log.info("%s: an answer that cannot be read: %s", provider.name, error)
        return False
    return any(e["status"] in ENDED or e["coverage"] is not None for e in events)
