"""The body and the signature of a webhook."""

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from connectors.clock import micros_now
from connectors.notify.endpoint import SCHEMAS
from connectors.notify.message import Event, event_of, headers
from connectors.serialize import as_json
from schemas.cloud_events import event_headers
from schemas.codec import BadRecord
from streams import testing
from tests.support.documents import ROOT
from tests.support.receiver import OTHER_SECRET, SECRET

VECTORS: list[dict[str, Any]] = [
    event
    for event in json.loads((ROOT / "docs/vectors/events.json").read_text())["events"]
    if event["topic"] in SCHEMAS
]


def test_signature_is_that_of_the_specification() -> None:
    """The vector is that of the libraries of Standard Webhooks."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    event = Event("msg_p5jXN8AQM9LWM0D4loKWxJek", (), b'{"test": 2432232314}')
    sent = headers(event, [secret], 1_614_265_330_999_999)
    assert (sent["webhook-id"], sent["webhook-timestamp"]) == (event.id, "1614265330")
    assert sent["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(
    secrets=st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=3, unique=True),
    text=st.text(max_size=50),
    number=st.integers(0, 2),
)
def test_each_secret_signs_id_time_and_body(secrets: list[bytes], text: str, number: int) -> None:
    key = secrets[number % len(secrets)]
    body = json.dumps({"text": text}, ensure_ascii=False).encode(errors="replace")
    texts = ["whsec_" + b64encode(secret).decode() for secret in secrets]
    sent = headers(Event("e-1", (), body), texts, now := micros_now())
    signed = f"e-1.{now // 1_000_000}.".encode() + body
    mac = b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert f"v1,{mac}" in sent["webhook-signature"].split(" ")
    assert len(sent["webhook-signature"].split(" ")) == len(secrets)
    receiver = Webhook("whsec_" + b64encode(key).decode())
    assert receiver.verify(body, sent) == json.loads(body)
    for changed in (body + b" ", body[:-1]):
        with pytest.raises(WebhookVerificationError):
            receiver.verify(changed, sent)


def test_receiver_with_the_old_or_the_new_secret_accepts_while_both_are_set() -> None:
    event = event_of(SCHEMAS["order-close"], testing.order_close())
    both = headers(event, [OTHER_SECRET, SECRET], micros_now())
    for secret in (SECRET, OTHER_SECRET):
        assert Webhook(secret).verify(event.body, both)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER_SECRET).verify(event.body, headers(event, [SECRET], micros_now()))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['topic']} {vector['key']}")
def test_body_is_the_event_as_the_api_shows_it(vector: dict[str, Any]) -> None:
    schema, record = SCHEMAS[vector["topic"]], vector["value"]
    event = event_of(schema, record)
    of_cloud = {name: value.decode() for name, value in event_headers(schema, b"", record)}
    assert event.id == of_cloud["ce_id"] == vector["headers"]["ce_id"]
    assert json.loads(event.body) == {
        "type": of_cloud["ce_type"],
        "timestamp": of_cloud["ce_time"],
        "data": as_json(schema, record),
    }


def test_vectors_have_every_topic() -> None:
    assert {vector["topic"] for vector in VECTORS} == SCHEMAS.keys()


def test_events_of_an_order_and_of_a_link_share_a_key() -> None:
    close = testing.order_close("O1")
    refund = testing.refund(link_id="L1", order_id="O1")
    of_close = event_of(SCHEMAS["order-close"], close).keys
    of_settlement = event_of(SCHEMAS["settlement"], testing.settlement(close)).keys
    of_refund = event_of(SCHEMAS["refunds"], refund).keys
    of_anomaly = event_of(SCHEMAS["anomalies"], testing.anomaly(link_id="L1")).keys
    assert of_close == of_settlement == ("order_id:ping:O1",)
    assert of_refund == (*of_close, *of_anomaly)
    other = event_of(SCHEMAS["order-close"], testing.order_close("O1", provider="peach"))
    assert other.keys != of_close


@pytest.mark.parametrize("event_id", ["", "a.b", "a\nb", "ä", "x" * 101, " "])
def test_event_whose_id_cannot_stand_in_a_header_is_broken(event_id: str) -> None:
    with pytest.raises(BadRecord, match="event_id"):
        event_of(SCHEMAS["anomalies"], {**testing.anomaly(), "event_id": event_id})


def test_event_with_an_impossible_time_is_broken() -> None:
    with pytest.raises(BadRecord, match="time"):
        event_of(SCHEMAS["anomalies"], {**testing.anomaly(), "at": 0})


def test_time_of_the_attempt_is_signed_and_not_that_of_the_event() -> None:
    event = event_of(SCHEMAS["order-close"], testing.order_close())
    late = int(datetime(2030, 1, 1, tzinfo=UTC).timestamp())
    one, two = (headers(event, [SECRET], at * 1_000_000) for at in (late, late + 1))
    assert one["webhook-id"] == two["webhook-id"]
    assert one["webhook-signature"] != two["webhook-signature"]
    assert len(b64decode(two["webhook-signature"].removeprefix("v1,"))) == 32
