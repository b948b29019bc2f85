"""Ids are the same for the same thing; money is exact."""

import uuid
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import NAMESPACE, event_id
from schemas.money import BadAmount, exponent, major_units, minor_units

PARTS = st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=10)), max_size=5)


@given(kind=st.text(max_size=10), parts=PARTS)
def test_event_id_is_the_uuid5_of_its_parts(kind: str, parts: list[str | int | None]) -> None:
    name = "\x1f".join("" if part is None else f"={part}" for part in (kind, *parts))
    assert event_id(kind, *parts) == str(uuid.uuid5(NAMESPACE, name))


def test_different_parts_have_different_ids() -> None:
    parts = [("a", "b"), ("ab", ""), ("a", None, "b"), ("a", "", "b"), (None,), ("",), ("None",)]
    assert len({event_id("k", *each) for each in parts}) == len(parts)


def test_event_ids_never_change() -> None:
    # Consumers store them: after a change every past event would look new.
    assert event_id("order-close", "ping", "O1") == "d08b9671-bc88-5328-aed0-7622bd14ad4f"


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [("12.34", "EUR", 1234), ("12", "JPY", 12), ("0.001", "KWD", 1), ("0", "ZAR", 0)],
)
def test_amount_in_minor_and_major_units(amount: str, currency: str, minor: int) -> None:
    assert minor_units(amount, currency) == minor
    assert major_units(minor, currency) == Decimal(amount)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("12.345", "EUR"),
        ("1.5", "JPY"),
        ("-1", "EUR"),
        ("NaN", "EUR"),
        ("Infinity", "EUR"),
        ("1e400", "EUR"),
        ("1." + "0" * 34 + "1", "EUR"),
        ("1e-999999999", "EUR"),
        ("", "EUR"),
        ("twelve", "EUR"),
        ("1", "XXX"),
        ("1", "euro"),
        ("1", "ZZZ"),
    ],
)
def test_bad_amount_is_refused(amount: str, currency: str) -> None:
    with pytest.raises(BadAmount):
        minor_units(amount, currency)


@given(minor=st.integers(0, 10**12), currency=st.sampled_from(["EUR", "JPY", "KWD", "SEK"]))
def test_minor_and_major_units_agree(minor: int, currency: str) -> None:
    assert minor_units(major_units(minor, currency), currency) == minor
    assert major_units(minor, currency).as_tuple()[2] == -exponent(currency)
