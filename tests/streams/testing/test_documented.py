"""The programs of docs/consuming.md, with the test kit in the place of Kafka."""

from typing import Any

import pytest

from schemas.topics import ORDER_CLOSE, ORDER_CORRECTIONS, REFUNDS
from streams.testing import InMemoryKafka, order_close, order_correction, refund
from tests.support.documents import blocks

PAID = order_close("O1", 1200, "SEK")
PRINTED = {
    "consume(ORDER_CLOSE": ["O1 1200 SEK", "O2 None None"],
    "consume(ORDER_CORRECTIONS": ["O2 1 700"],
    "consume(REFUNDS": ["book R1 500 SEK", "O1 has 700 left", "take back R1", "O1 has 1200 left"],
}


def program(call: str) -> str:
    (code,) = (block for block in blocks("python") if call in block)
    return code


@pytest.mark.parametrize("call", PRINTED)
def test_program_prints_each_event_once(
    call: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = order_close("O2", None)
    kafka = InMemoryKafka(repeats=True)
    kafka.publish(ORDER_CLOSE, PAID, unknown)
    kafka.publish(ORDER_CORRECTIONS, order_correction(unknown, 700))
    kafka.publish(REFUNDS, refund("R1", 500), refund("R1", 500, state="RETURNED"))
    monkeypatch.setattr("streams.consume", kafka.consume)
    exec(program(call), {})
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(PRINTED[call])


def test_documented_test_passes() -> None:
    names: dict[str, Any] = {}
    exec(program("InMemoryKafka(seed"), names)
    names["test_each_settlement_is_booked_once"]()
