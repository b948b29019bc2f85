"""A failing seed's shortest schedule."""

from tests.simulation.seed import Result, run_seed


def shrink(failing: Result) -> Result:
    """Drop faults, many at a time and then one by one, while the same kind of problem stays."""
    kinds = failing.problems.found().keys()
    best, size = failing, max(1, len(failing.faults) // 2)
    while True:
        shorter = _without_some(best, size, kinds)
        if shorter is not None:
            best = shorter
        elif size == 1:
            return best
        else:
            size //= 2


def _without_some(best: Result, size: int, kinds: object) -> Result | None:
    for first in range(0, len(best.faults), size):
        faults = [*best.faults[:first], *best.faults[first + size :]]
        result = run_seed(best.seed, faults)
        if result.problems.found().keys() & set(kinds):  # type: ignore[call-overload]
            return result
    return None
