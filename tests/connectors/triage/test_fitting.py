"""A dead letter always fits its topic, and says what was cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.triage import fitting
from schemas import limits
from schemas.headers import Headers

ORIGIN = "callbacks.ipint/1/7"


def of(key: bytes | None, value: bytes | None, headers: Headers) -> fitting.Written:
    return fitting.dead_letter(key, value, headers, "normalize", "no JSON", ORIGIN)


def test_record_that_fits_is_kept_whole() -> None:
    headers = [("a", b"1"), ("a", b""), ("", b"\xff")]
    own = [("stage", b"normalize"), ("reason", b"no JSON"), ("origin", ORIGIN.encode())]
    assert of(b"k", b"{}", headers) == (b"k", b"{}", headers + own)
    assert of(None, None, []) == (None, None, own)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_b1_value_is_cut_to_its_limit(over: int) -> None:
    value = b"x" * (limits.DEAD_LETTER_BYTES + over)
    letter = of(None, value, [])
    assert letter.value == value[: limits.DEAD_LETTER_BYTES]
    expected = f"value of {len(value)} bytes".encode() if over > 0 else None
    assert dict(letter.headers).get("cut") == expected


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_b1_headers_are_cut_to_their_limits(over: int) -> None:
    many = of(None, b"v", [("a", b"1")] * (limits.DEAD_LETTER_HEADERS + over))
    assert len(many.headers) <= limits.DEAD_LETTER_HEADERS + 4
    large = of(None, b"v", [("a", b"1" * (limits.DEAD_LETTER_HEADER_BYTES - 1 + over))])
    for letter in (many, large):
        assert ("cut" in dict(letter.headers)) is (over > 0)


@given(
    key=st.none() | st.integers(0, 3 * limits.MIB).map(bytes),
    value=st.none() | st.integers(0, 3 * limits.MIB).map(bytes),
    headers=st.lists(st.tuples(st.text(max_size=20), st.integers(0, 2 * limits.MIB).map(bytes))),
    repeats=st.sampled_from([1, 1000]),
)
def test_b1_dead_letter_of_any_record_fits_its_topic(
    key: bytes | None, value: bytes | None, headers: Headers, repeats: int
) -> None:
    letter = of(key, value, headers * repeats)
    size = len(letter.key or b"") + len(letter.value or b"")
    size += sum(len(name.encode()) + len(text) + 10 for name, text in letter.headers)
    assert size < limits.RECORD_BYTES - 1000
    assert dict(letter.headers)["origin"] == ORIGIN.encode()
