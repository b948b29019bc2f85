"""The check of the webhooks finds an event that is lost, and one that is out of order."""

from dataclasses import replace
from random import Random

import pytest

from streams import testing
from tests.chaos.evidence import Board, Evidence
from tests.chaos.notified import FailingReceiver
from tests.chaos.problems import Problems
from tests.support.receiver import Attempt

CLOSES = [testing.order_close(name) for name in ("O1", "O2")]
SETTLED = [testing.settlement(close) for close in CLOSES]
IDS = [event["event_id"] for event in (*CLOSES, *SETTLED)]
NOTHING = Evidence({}, [], [], [], [], {}, {}, [], [], [], Board({}, {}, {}, 0), [], [])
# An event that came twice on its topic.
EVIDENCE = replace(NOTHING, closes=[*CLOSES, CLOSES[0]], settlements=SETTLED)


@pytest.mark.parametrize(
    ("accepted", "found"),
    [
        ([0, 1, 2, 3], {}),
        ([1, 3, 0, 2], {}),
        ([0, 1, 3], {"lost": IDS[2]}),
        ([1, 2, 3], {"lost": IDS[0]}),
        ([2, 0, 1, 3], {"wrong": "O1"}),
    ],
)
def test_lost_and_disordered_webhooks_are_found(accepted: list[int], found: dict[str, str]) -> None:
    receiver = FailingReceiver(Random(1))
    for number in accepted:
        receiver.accepted[IDS[number]] = Attempt(IDS[number], "", {}, 1)
    problems = Problems()
    receiver.check(problems, EVIDENCE)
    receiver.close()
    assert problems.found().keys() == found.keys()
    for kind, text in found.items():
        assert text in problems.found()[kind][0]
