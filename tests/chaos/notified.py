"""The receiver of webhooks, which sometimes fails, and the checks of what it accepted."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from random import Random
from typing import Any

from starlette.responses import Response

from tests.chaos.evidence import Evidence
from tests.chaos.problems import Problems
from tests.support.receiver import SECRET, Attempt, Receiver
from tests.support.serving import serving

# The longest that an event is refused: the seconds between attempts double.
_FAILURES = 2
_SLOW_SECONDS = 0.5


class FailingReceiver:
    """A receiver that runs in a thread until `close`. Of the first attempts of each event it
    refuses some, asks to wait, or answers slowly.
    """

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self.disturbed = 0
        self._receiver = Receiver(answer=self._answer)
        self._stack = ExitStack()
        self.accepted = self._receiver.accepted
        self.url = self._stack.enter_context(serving(self._receiver.app()))

    @staticmethod
    def settings(address: str) -> dict[str, Any]:
        """Return the value of NOTIFY__ENDPOINTS, with the receiver at this address."""
        return {"chaos": {"url": f"{address}/hooks", "secrets": [SECRET]}}

    def close(self) -> None:
        self._stack.close()

    async def _answer(self, attempt: Attempt) -> Response:
        fate = 1.0 if attempt.number > _FAILURES else self._chance.random()
        self.disturbed += fate < 0.2
        if fate < 0.1:
            return Response(status_code=500)
        if fate < 0.13:
            return Response(status_code=503, headers={"retry-after": "1"})
        if fate < 0.2:
            await asyncio.sleep(_SLOW_SECONDS)
        return Response(status_code=204)

    def check(self, problems: Problems, evidence: Evidence) -> None:
        """Each event was accepted, and those of an order or a link for the first time in their
        order.
        """
        place = {event_id: number for number, event_id in enumerate(self.accepted)}
        problems.wrong += [f"webhook: {reason}" for reason in self._receiver.wrong]
        problems.repeats += self._receiver.again
        # The settlements of an order follow its close.
        for records in ([*evidence.closes, *evidence.settlements], evidence.anomalies):
            for key, ids in _ids(records).items():
                if lost := [one for one in ids if one not in place]:
                    problems.lost.append(f"webhooks of {key} were never accepted: {lost}")
                elif ids != sorted(ids, key=place.__getitem__):
                    problems.wrong.append(f"webhooks of {key} came in another order than {ids}")


def _ids(records: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """Return the ids of events, each once, in order, by order or link."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in records:
        key = record["provider"], record.get("order_id") or record["link_id"]
        found.setdefault(key, []).append(record["event_id"])
    return {key: [*dict.fromkeys(ids)] for key, ids in found.items()}
