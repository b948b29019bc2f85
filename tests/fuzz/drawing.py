"""Examples of a hypothesis strategy, outside of a test: they are sent together."""

from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

T = TypeVar("T")


def examples(strategy: st.SearchStrategy[T], number: int, lot: str) -> list[T]:
    """Return so many examples, the same for the same `lot`."""
    found: list[T] = []

    @seed(lot)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(example: T) -> None:
        found.append(example)

    draw()
    return found


def weighted(*choices: tuple[int, st.SearchStrategy[T]]) -> st.SearchStrategy[T]:
    """Return a strategy that draws from each strategy as often as its weight says."""
    lots = [strategy for weight, strategy in choices for _ in range(weight)]
    return st.integers(0, len(lots) - 1).flatmap(lambda number: lots[number])
