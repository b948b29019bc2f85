"""The agent `normalize`: what other processes wrote is read as they meant it."""

import pytest

from connectors.ipint import IPint, IPintConfig
from connectors.lookup.answers import headers
from connectors.lookup.questions import Question
from connectors.provider import Answer
from schemas.codec import LINK_EVENT
from schemas.records import LinkEvent, LookupRequest
from schemas.topics import LINK_EVENTS, message_key
from streams.agents.normalize import Normalize
from streams.engine.batch import Batch
from streams.serial import Record

IPINT = IPint(IPintConfig())


def asked_about(link_id: str) -> LookupRequest:
    return {
        "request_id": "r",
        "provider": "ipint",
        "link_id": link_id,
        "reason": "CLAIM",
        "claimed_status": "PAID",
        "payment_id": None,
        "issued": False,
        "requested_at": 1,
    }


def heard(link_id: str, answer: Answer) -> LinkEvent:
    """The fact in an answer to a lookup, as the lookup process publishes it."""
    said = headers(IPINT, Question([], request=asked_about(link_id), trace=[]), answer, True)
    record = Record("callbacks.ipint", message_key("ipint", link_id), answer.body, said, 0)
    batch = Batch("normalize", [record], {}, "")  # type: ignore[list-item]
    normalize = Normalize({"ipint": IPINT})
    batch.each(lambda message: normalize(batch, message))
    (output,) = batch.outputs
    assert output.topic == LINK_EVENTS.name
    return LINK_EVENT.decode(output.value)


@pytest.mark.parametrize("link_id", ["i1", "fakturanummer-å", "发票"])
def test_a_link_that_nobody_knows_is_denied_whatever_its_id_is_written_with(link_id: str) -> None:
    event = heard(link_id, Answer(404, b""))
    assert (event["link_id"], event["denies"]) == (link_id, "PAID")
