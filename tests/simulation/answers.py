"""Each lookup that was requested has been answered since."""

from collections.abc import Iterator
from typing import Any

from schemas.codec import LOOKUP_REQUEST
from schemas.headers import Headers
from schemas.records import LookupRequest
from schemas.topics import LOOKUPS, callbacks
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.log import Record
from tests.support.codecs import CODECS


def unanswered(kafka: SimulatedKafka) -> Iterator[str]:
    """Yield the requests without an answer: any one, or the last word on a claim or a refund."""
    for record in _records(kafka, LOOKUPS.name):
        request = CODECS.decode(LOOKUP_REQUEST, record.value)
        answers = _records(kafka, callbacks(request["provider"]).name)
        if not any(_answers(request, record.at, answer) for answer in answers):
            yield f"no answer to {request}"


def _records(kafka: SimulatedKafka, topic: str) -> Iterator[Record]:
    for log in kafka.topics[topic]:
        yield from (entry.record for entry in log.history() if entry.record)


def _answers(request: LookupRequest, at: int, answer: Record) -> bool:
    headers: dict[str, Any] = _first(answer.headers)
    claim = headers.get("lookup-claim", b"").decode() or None
    needs_last_word = request["claimed_status"] is not None or request["refund"] is not None
    return (
        answer.at >= at
        and headers.get("lookup-link") == request["link_id"].encode()
        # Whatever anybody claims of a link that we never issued, it has one lookup.
        and (claim == request["claimed_status"] or not request["issued"])
        and ("lookup-refund" in headers) == (request["refund"] is not None)
        and ("lookup-final" in headers or not needs_last_word)
    )


def _first(headers: Headers) -> dict[str, Any]:
    return dict(reversed(headers))
