"""The agent `normalize`: what other processes wrote is read as they meant it."""

import pytest

from connectors import recorded
from connectors.ipint import IPint, IPintConfig
from connectors.lookup.answers import headers
from connectors.lookup.questions import Question
from connectors.peach import Peach, PeachConfig
from connectors.provider import Answer, Provider
from schemas.codec import LINK_EVENT, LOOKUP_REQUEST, NOTICE
from schemas.records import LinkEvent, LookupRequest
from schemas.topics import LINK_EVENTS, LOOKUPS, NOTICES, message_key
from streams.agents.normalize import Normalize
from streams.engine.batch import Batch, Output
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
    (output,) = normalized(IPINT, message_key("ipint", link_id), answer.body, said)
    assert output.topic == LINK_EVENTS.name
    return LINK_EVENT.decode(output.value)


def normalized(provider: Provider, key: bytes, body: bytes, said: recorded.Headers) -> list[Output]:
    """What comes of a raw record."""
    record = Record(f"callbacks.{provider.name}", key, body, said, 0)
    batch = Batch("normalize", [record], {}, "")  # type: ignore[list-item]
    normalize = Normalize({provider.name: provider})
    batch.each(lambda message: normalize(batch, message))
    return batch.outputs


@pytest.mark.parametrize("link_id", ["i1", "fakturanummer-å", "发票"])
def test_a_link_that_nobody_knows_is_denied_whatever_its_id_is_written_with(link_id: str) -> None:
    event = heard(link_id, Answer(404, b""))
    assert (event["link_id"], event["denies"]) == (link_id, "PAID")


@pytest.mark.parametrize("credentials", [True, False])
def test_a_batch_event_is_kept_and_asked_about_where_there_are_credentials(
    credentials: bool,
) -> None:
    told = {"client_id": "me", "client_secret": "s3cret", "merchant_id": "m"}
    peach = Peach(PeachConfig.model_validate(told if credentials else {}))
    said = recorded.headers("peach", "callback", False, "application/json")
    body = b'{"batchId": "b1", "status": "completed"}'
    notice, *asked = normalized(peach, b"peach:b1", body, said)
    assert (notice.topic, NOTICE.decode(notice.value)["status"]) == (NOTICES.name, "completed")
    to = (LOOKUPS.name, b"peach:batches/b1")
    assert [(one.topic, one.key) for one in asked] == [to] * credentials
    for one in asked:
        question = LOOKUP_REQUEST.decode(one.value)
        assert (question["link_id"], question["reason"]) == ("batches/b1", "CLAIM")
