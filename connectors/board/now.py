"""What the first page says, for people and programs: what flows now, and what needs somebody."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from connectors.board.advice import Problem, problems
from connectors.board.health import Watch
from connectors.board.lately import Coming, Lately, look
from connectors.board.present import rfc3339
from connectors.board.store import Store
from connectors.clock import micros_now

# Counting a million links takes part of a second: do it once for everybody who looks, and spend at
# most a tenth of the time on it.
_KEPT_SECONDS = 1.0
_REST = 10


class Now:
    """The counts, and what is wrong by them. `trouble` says why the store is not up to date, or
    None. Blocking.
    """

    def __init__(
        self,
        store: Store,
        providers: Sequence[str],
        watch: Watch,
        trouble: Callable[[], str | None],
    ) -> None:
        self._store = store
        self._providers = providers
        self._watch = watch
        self._trouble = trouble
        self._lately: Lately | None = None
        self._lately_until = 0.0

    def counted(self) -> Lately:
        """A count that is hardly older than a second, or than ten times what counting takes."""
        began = time.monotonic()
        if self._lately is None or began >= self._lately_until:
            self._lately = look(self._store, micros_now())
            now = time.monotonic()
            self._lately_until = now + max(_KEPT_SECONDS, _REST * (now - began))
        return self._lately

    def providers(self) -> list[str]:
        """Ours, and after them those that only links of before know."""
        return list(dict.fromkeys((*self._providers, *sorted(self.counted().links))))

    def problems(self) -> list[Problem]:
        """All that needs somebody, the gravest first."""
        return problems(self.counted(), self._watch.seen, self._trouble())

    def as_json(self) -> dict[str, Any]:
        """The answer for programs."""
        seen, none = self.counted(), Coming()
        return {
            "problems": [_problem_json(one) for one in self.problems()],
            "providers": {
                name: {
                    "links": seen.links.get(name, {}),
                    "events_within_hour": sum(coming.by_minute),
                    "last_event_at": rfc3339(coming.last_at),
                }
                for name in self.providers()
                for coming in [seen.coming.get(name, none)]
            },
            "anomalies_open": sum(group.number for group in seen.anomalies),
            "dead_letters_open": seen.letters_open,
        }


def _problem_json(one: Problem) -> dict[str, Any]:
    return {**one._asdict(), "last_at": rfc3339(one.last_at)}
