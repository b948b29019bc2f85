"""How long to wait before the next try."""

import random


def backoff(attempts: int, first: float, longest: float) -> float:
    """Return the seconds to wait after so many failed attempts: they double up to `longest`, and
    vary at random so that many callers do not retry at the same time.
    """
    ceiling = min(longest, first * 2.0 ** min(attempts - 1, 32))
    return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads load, guards nothing
