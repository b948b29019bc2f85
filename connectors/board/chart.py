"""Curves as SVG path data: drawn here, so that no library and no script is needed."""

from collections.abc import Sequence
from typing import NamedTuple


class Chart(NamedTuple):
    """`path` fits a view box of `width` by `height`; `most` is what reaches its top."""

    path: str
    width: int
    height: int
    most: float
    last: float


def bars(values: Sequence[float], height: int = 28, step: int = 4) -> Chart:
    """A bar for each value, as high as its share of the highest."""
    most = max(values, default=0)
    drawn = []
    for place, value in enumerate(values):
        if value:
            high = max(2, round(value / most * height))
            drawn.append(f"M{place * step},{height}v-{high}h{step - 1}v{high}z")
    return Chart("".join(drawn), len(values) * step, height, most, values[-1] if values else 0)


def line(values: Sequence[float], width: int = 480, height: int = 64) -> Chart:
    """One line through the values, zero at the bottom."""
    most = max(values, default=0)
    step = width / max(1, len(values) - 1)
    points = [
        f"{place * step:.1f},{height - (value / most * (height - 2) if most else 0) - 1:.1f}"
        for place, value in enumerate(values)
    ]
    return Chart(
        f"M{'L'.join(points)}" if points else "", width, height, most, values[-1] if values else 0
    )
