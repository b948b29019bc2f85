"""G2: authorised is not paid, from Peach's callbacks and answers to the close of the order."""

import itertools
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import pytest

from connectors.providers import raw
from connectors.providers.peach import Peach, PeachConfig
from connectors.providers.peach.links import AUTHORISED, NOTHING_CHARGED, ONLY_A_TEST
from schemas import codec, topics
from schemas.headers import Headers
from schemas.records import LookupRequest
from schemas.topics import message_key
from streams.domain.polling import SECOND, Intervals
from streams.domain.rules import ProviderRules
from streams.rebuild.in_memory import InMemoryPipeline, Record
from tests.support.codecs import CODECS

# Two accounts of Peach, each with an API.
ACCOUNTS = ("peach", "peach_ke")
START = 1_767_225_600 * SECOND
LIVE = {"client_id": "id", "client_secret": "secret", "merchant_id": "merchant"}
TEST = LIVE | {"links_url": "https://sandbox-l.ppay.io"}
FORM = "application/x-www-form-urlencoded"
Sent = dict[str, Any]


class Pipeline:
    """The worker with Peach's accounts and the link L1. Each record comes a second after the one
    before. What is sent is returned by topic: the last record of each.
    """

    def __init__(self, config: dict[str, str] = LIVE, account: str = "peach") -> None:
        can_look_up = Peach(PeachConfig.model_validate(config)).can_look_up()
        rules = ProviderRules(polling=True, can_look_up=can_look_up)
        self._account = account
        self._pipeline = InMemoryPipeline(
            CODECS,
            {name: Peach(PeachConfig.model_validate(config), name) for name in ACCOUNTS},
            dict.fromkeys(ACCOUNTS, rules),
            Intervals(),
        )
        self._now = START

    def callback(self, *, signed: bool = True) -> Sent:
        headers = raw.headers(self._account, "callback", signed, "application/json")
        return self._handle(
            json.dumps({"paymentId": "L1", "status": "completed"}).encode(), headers
        )

    def answer(self, amount: float = 12.5, **checkout: str) -> Sent:
        """Answer finally that the link is completed."""
        terms = {"status": "completed", "amount": amount, "currency": "ZAR"}
        payment = {"id": "L1", "payment": terms, "checkout": {"checkoutId": "c1", **checkout}}
        request: LookupRequest = {
            "request_id": "r",
            "provider": self._account,
            "link_id": "L1",
            "reason": "CLAIM",
            "claimed_status": "PAID",
            "payment_id": None,
            "refund": None,
            "issued": True,
            "requested_at": START,
        }
        body = json.dumps({"payment": payment}).encode()
        return self._handle(body, raw.answer_headers(request, 200, final=True))

    def checkout(self, payment_type: str, amount: str, transaction: str) -> Sent:
        form = {
            **{"checkoutId": "c1", "id": transaction, "paymentType": payment_type},
            **{"amount": amount, "currency": "ZAR", "result.code": "000.000.000"},
        }
        headers = raw.headers(self._account, "callback", True, FORM)
        return self._handle(urlencode(form).encode(), headers)

    def wait(self, seconds: float) -> Sent:
        self._now += int(seconds * SECOND)
        return _by_topic(self._pipeline.tick(self._now))

    def row(self) -> Any:
        rows = {output.topic: output.value for output in self._pipeline.rows()}
        return CODECS.decode(codec.LINK_STATUS, rows[topics.LINK_STATUS.name])

    def _handle(self, body: bytes, headers: Headers) -> Sent:
        self._now += SECOND
        at = self._now // 1000
        headers = [*(h for h in headers if h[0] != "received-at"), ("received-at", b"%d" % at)]
        self._pipeline.tick(self._now)
        key = message_key(self._account, "L1")
        record = Record(f"callbacks.{self._account}", key, body, headers, at)
        return _by_topic(self._pipeline.process(record))


def _by_topic(outputs: Any) -> Sent:
    return {output.topic: CODECS.decode_any(output.value or b"")[1] for output in outputs}


@pytest.mark.parametrize("account", ACCOUNTS)
def test_signed_completed_is_a_claim_until_the_api_tells_that_money_was_taken(account: str) -> None:
    pipeline = Pipeline(account=account)
    sent = pipeline.callback()
    lookup = sent["lookups"]
    assert (lookup["provider"], lookup["reason"], lookup["claimed_status"]) == (
        *(account, "CLAIM"),
        "PAID",
    )
    # The signature vouches for the link: its lookup does not wait among those of forged claims.
    assert lookup["issued"]
    row = pipeline.row()
    assert (row["status"], row["claimed_status"], row["reason"]) == ("PROCESSING", "PAID", None)
    # However long the API is away.
    assert "order-close" not in pipeline.wait(3600)
    closed = pipeline.answer(paymentType="DB", transactionUniqueId="t1")
    assert (closed["order-close"]["provider"], closed["order-close"]["total_minor"]) == (
        *(account, 1250),
    )
    row = pipeline.row()
    assert (row["status"], row["claimed_status"], row["payment_id"]) == ("PAID", None, "t1")


def test_without_an_api_the_signature_is_the_only_proof_there_is() -> None:
    pipeline = Pipeline({})
    sent = pipeline.callback()
    assert (sent["link-events"]["status"], sent["link-events"]["verified"]) == ("PAID", True)
    assert "order-close" in sent


REASONS: list[tuple[dict[str, str], float, str]] = [
    ({"paymentType": "PA"}, 12.5, AUTHORISED),
    ({"paymentType": "PA"}, 0, AUTHORISED),
    ({"paymentType": "DB"}, 0, NOTHING_CHARGED),
    ({"resultCode": "000.100.110"}, 12.5, ONLY_A_TEST),
]


@pytest.mark.parametrize(("checkout", "amount", "reason"), REASONS)
@pytest.mark.parametrize("order", [*itertools.permutations(("signed", "unsigned", "answer"))])
def test_link_that_took_no_money_is_processing_with_its_reason_and_closes_its_order_once_captured(
    order: Sequence[str], checkout: dict[str, str], amount: float, reason: str
) -> None:
    pipeline = Pipeline()
    for step in order:
        if step == "answer":
            sent = pipeline.answer(amount, **checkout)
        else:
            sent = pipeline.callback(signed=step == "signed")
        assert sent.keys().isdisjoint({"order-close", "anomalies"})
    row = pipeline.row()
    assert (row["status"], row["reason"], row["payment_ids"]) == ("PROCESSING", reason, [])
    # Polling finds the capture.
    sent = pipeline.wait(3600)
    assert sent.keys() == {"lookups"}
    assert sent["lookups"]["reason"] == "POLL"
    captured = pipeline.answer(paymentType="CP", transactionUniqueId="t2")
    assert captured["order-close"]["total_minor"] == 1250
    late = pipeline.answer(amount, **checkout)
    assert late.keys().isdisjoint({"order-close", "order-corrections", "anomalies"})
    row = pipeline.row()
    assert (row["status"], row["reason"], row["payment_id"]) == ("PAID", None, "t2")


def test_success_in_test_mode_is_paid_on_a_test_api() -> None:
    closed = Pipeline(TEST).answer(resultCode="000.100.110")
    assert closed["order-close"]["total_minor"] == 1250


def test_repeated_callback_of_an_authorised_link_asks_again_after_a_while() -> None:
    pipeline = Pipeline()
    pipeline.callback()
    pipeline.answer(paymentType="PA")
    assert "lookups" not in pipeline.callback()
    pipeline.wait(61)
    assert pipeline.callback()["lookups"]["reason"] == "CLAIM"


STEPS = ("callback", "answer", "authorised", "captured")


@pytest.mark.parametrize("order", [*itertools.permutations(STEPS)])
def test_signed_capture_closes_the_order_once_in_whatever_order_it_comes(
    order: Sequence[str],
) -> None:
    pipeline = Pipeline()
    closes = []
    for step in (*order, *order, "answer after the capture"):
        match step:
            case "callback":
                sent = pipeline.callback()
            case "answer":
                sent = pipeline.answer(paymentType="PA", transactionUniqueId="t1")
            case "authorised":
                sent = pipeline.checkout("PA", "12.50", "t1")
            case "captured":
                sent = pipeline.checkout("CP", "12.50", "t2")
            case _:
                # The query may still name the authorisation: that is no second payment.
                sent = pipeline.answer(paymentType="CP", transactionUniqueId="t1")
        closes += [sent["order-close"]] if "order-close" in sent else []
        assert "anomalies" not in sent
    (close,) = closes
    assert (close["total_minor"], close["links"][0]["payment_id"]) == (1250, "t2")
    assert pipeline.row()["payment_id"] == "t2"


def test_capture_of_a_part_closes_the_order_with_the_part_and_is_an_anomaly() -> None:
    pipeline = Pipeline()
    pipeline.callback()
    pipeline.answer(paymentType="PA")
    closed = pipeline.checkout("CP", "5.00", "t2")
    assert closed["order-close"]["total_minor"] == 500
    assert closed["anomalies"]["kind"] == "AMOUNT_MISMATCH"
    assert closed["anomalies"]["detail"].startswith("asked 12.50 ZAR, received 5.00 ZAR")
    assert pipeline.row()["net_minor"] == 500
