"""Charts as SVG path data, so that the pages need no chart library and no script."""

from collections.abc import Sequence
from typing import NamedTuple


class Chart(NamedTuple):
    """A `path` for a view box of `width` by `height`. The value `highest` reaches its top."""

    path: str
    width: int
    height: int
    highest: float
    last: float


def bars(values: Sequence[float], height: int = 28, step: int = 4) -> Chart:
    """Draw a bar for each value, as high as its share of the highest value."""
    highest = max(values, default=0)
    path = "".join(
        f"M{i * step},{height}v-{max(2, round(value / highest * height))}h{step - 1}v{height}z"
        for i, value in enumerate(values)
        if value
    )
    return Chart(path, len(values) * step, height, highest, values[-1] if values else 0)


def line(values: Sequence[float], width: int = 480, height: int = 64) -> Chart:
    """Draw one line through the values, with zero at the bottom."""
    highest = max(values, default=0)
    step = width / max(1, len(values) - 1)
    points = [
        f"{i * step:.1f},{height - 1 - (value / highest * (height - 2) if highest else 0):.1f}"
        for i, value in enumerate(values)
    ]
    path = f"M{'L'.join(points)}" if points else ""
    return Chart(path, width, height, highest, values[-1] if values else 0)
