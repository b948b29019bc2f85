"""The words for errors: what people read of them has no class and no code of a library."""

import json

import httpx
import pytest
from aiokafka import errors as kafka
from confluent_kafka import KafkaError, KafkaException

from connectors.reasons import reason_of
from schemas.codec import BadRecord

_REQUEST = httpx.Request("GET", "http://x/", extensions={"timeout": {"connect": 2.5, "read": 10}})


def not_utf8() -> Exception:
    try:
        b"a\xff".decode()
    except UnicodeDecodeError as error:
        return error
    raise AssertionError


def not_json() -> Exception:
    try:
        json.loads("{")
    except ValueError as error:
        return error
    raise AssertionError


WORDS: list[tuple[object, str]] = [
    (httpx.ReadTimeout("", request=_REQUEST), "no answer within 10 s"),
    (httpx.ConnectTimeout("", request=_REQUEST), "no connection within 2.5 s"),
    (httpx.ReadTimeout(""), "no answer in time"),
    (httpx.ConnectError("[Errno 111] Connection refused"), "Connection refused"),
    (httpx.ConnectError("All connection attempts failed"), "no connection"),
    (httpx.ReadError(""), "the connection broke"),
    (httpx.DecodingError("Error -3 while decompressing"), "the answer cannot be decompressed"),
    (httpx.RemoteProtocolError("Server disconnected."), "Server disconnected."),
    (kafka.KafkaConnectionError("Unable to bootstrap from [('x', 9, <A>)]"), "no connection to a"),
    (kafka.KafkaTimeoutError(), "no answer from Kafka in time"),
    (kafka.RequestTimedOutError(), "request timed out"),
    (kafka.TopicAuthorizationFailedError({"links"}), "topic authorization failed"),
    (kafka.KafkaError("the producer is being replaced"), "the producer is being replaced"),
    (kafka.NodeNotReadyError(), "node not ready"),
    (KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT)), "Message timed out"),
    (KafkaException("bad configuration"), "bad configuration"),
    (KafkaError(KafkaError._TRANSPORT, "x: refused (after 3ms in state CONNECT)"), "x: refused"),
    (TimeoutError(), "no answer in time"),
    (OSError(98, "binding ('127.0.0.1', 80): [errno 98] address in use"), "address in use"),
    (FileNotFoundError(2, "No such file", "a.csv"), "a.csv: No such file"),
    (not_utf8(), "byte 1 is not UTF-8"),
    (not_json(), "Expecting property name"),
    (BadRecord("not an order"), "not an order"),
    (KeyError("amount"), "a defect: amount is missing"),
    (IndexError(), "a defect: index"),
]


@pytest.mark.parametrize(("error", "text"), WORDS)
def test_error_is_told_in_words(error: object, text: str) -> None:
    reason = reason_of(error)
    assert reason.startswith(text)
    assert not any(sign in reason for sign in ("Error", "Errno", "('", "{"))
