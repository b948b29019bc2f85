"""Numbers as people read them, and charts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.board.http.text import age, duration, money, plural
from connectors.board.pages import chart
from tests.connectors.board.samples import AT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (money(1234567, "EUR"), "12,345.67 EUR"),
        (money(500, "JPY"), "500 JPY"),
        (money(None, "EUR"), "—"),
        (money(1234, None), "1,234 minor units"),
        (money(1234, "XBT"), "1,234 minor units of XBT"),
        (money(1234, "XAU"), "1,234 minor units of XAU"),
        (duration(None), "—"),
        (duration(-1.0), "under 1 s"),
        (duration(0.4), "under 1 s"),
        (duration(7300.0), "2 h"),
        (plural(1, "order"), "1 order"),
        (plural(2000, "order"), "2,000 orders"),
        (plural(2, "entry", "entries"), "2 entries"),
        *(
            (age(AT, AT / 1_000_000 + seconds), expected)
            for seconds, expected in (
                *((-5, "now"), (0, "now"), (59, "59 s")),
                *((60, "1 min"), (90_000, "1 d")),
            )
        ),
    ],
)
def test_number_reads_as_people_write_it(text: str, expected: str) -> None:
    assert text == expected


@given(values=st.lists(st.integers(0, 10**9), max_size=60))
def test_chart_stays_within_its_frame(values: list[int]) -> None:
    for drawn in (chart.bars(values), chart.line(values)):
        pairs = re.findall(r"v-(\d+)|,(\d+\.?\d*)", drawn.path)
        heights = [float(number) for pair in pairs for number in pair if number]
        assert all(0 <= height <= drawn.height for height in heights)
        assert drawn.highest == max(values, default=0)
