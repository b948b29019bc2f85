"""Answers and files are stored in parts as received, and put together again."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.payouts import raw
from connectors.payouts.raw import Assembler, Payload, newest_by_day, records
from schemas.limits import PAYOUT_PART_BYTES
from schemas.times import DAY, day_of, start_of
from tests.streams.domain.test_reconcile import NOVEMBER


def payload(body: bytes = b"a", source: Any = "api", first: int = 0, days: int = 1) -> Payload:
    start = NOVEMBER + first * DAY
    return Payload("ping", source, start, start + days * DAY, body)


def parts(one: Payload) -> list[tuple[dict[str, str], bytes]]:
    return [
        ({name: text.decode() for name, text in headers}, value)
        for _, value, headers in records(one)
    ]


@given(
    body=st.binary(max_size=40),
    source=st.sampled_from(["api", "file"]),
    first=st.integers(-400, 400),
    days=st.integers(1, 92),
)
def test_payload_comes_back_from_its_records(
    body: bytes, source: Any, first: int, days: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw, "PAYOUT_PART_BYTES", 7)
        one = payload(body, source, first, days)
        assembler = Assembler()
        found = [assembler.add(*part) for part in parts(one)]
    assert found[-1] == one
    assert found[:-1] == [None] * (len(found) - 1)


def test_records_have_the_providers_name_as_key_and_the_same_headers_again() -> None:
    one = payload(b"x" * (PAYOUT_PART_BYTES + 1), "file")
    first, second = records(one)
    assert first[0] == second[0] == b"ping", "one partition keeps their sequence"
    assert (len(first[1]), second[1]) == (PAYOUT_PART_BYTES, b"x")
    assert dict(first[2]) == {
        "provider": b"ping",
        "payout-source": b"file",
        "payout-from": b"2025-11-01",
        "payout-to": b"2025-11-02",
        "content-type": b"text/csv",
        "payload-id": one.id.encode(),
        "part": b"1",
        "parts": b"2",
    }
    assert [*records(one)] == [first, second]


def test_payload_that_was_not_stored_whole_is_completed_by_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(raw, "PAYOUT_PART_BYTES", 1)
    stored = parts(payload(b"abc"))
    assembler = Assembler()
    assert [assembler.add(*part) for part in stored[:2]] == [None, None]
    again = [assembler.add(*part) for part in stored]
    assert [p and p.body for p in again] == [None, None, b"abc"]
    assert [p and p.body for p in (assembler.add(*part) for part in stored)][-1] == b"abc"


@pytest.mark.parametrize(
    "change",
    [
        {"part": "0"},
        {"part": "2"},
        {"part": "one"},
        {"parts": "1000000000"},
        {"payout-source": "dream"},
        {"payout-from": "yesterday"},
        {"payload-id": "another"},
        {"provider": "peach"},
    ],
)
def test_record_of_another_producer_is_left_out(change: dict[str, str]) -> None:
    ((headers, value),) = parts(payload())
    assert Assembler().add(headers, value) == payload()
    assert Assembler().add(headers | change, value) is None
    assert Assembler().add(headers, value + b"changed") is None
    for name in headers.keys() - {"content-type"}:
        assert Assembler().add({n: t for n, t in headers.items() if n != name}, value) is None


def test_last_payload_of_a_day_counts() -> None:
    month, day, later = payload(b"m", "file", 0, 3), payload(b"d", "api", 1), payload(b"l", first=1)
    newest = newest_by_day([month, day, later])
    assert [newest[NOVEMBER + n * DAY].body for n in range(3)] == [b"m", b"l", b"m"]
    assert newest_by_day([day, month])[NOVEMBER + DAY] == month


def test_days_begin_at_midnight_in_utc() -> None:
    assert start_of(day_of(NOVEMBER)) == NOVEMBER
    assert day_of(NOVEMBER - 1) < day_of(NOVEMBER) == day_of(NOVEMBER + DAY - 1)
