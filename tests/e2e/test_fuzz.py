"""Generated requests and records leave a running system as it was: 20 seconds here, as long as you
like with `make fuzz SECONDS=…`.
"""

from random import SystemRandom
from statistics import median

import pytest

from connectors.kafka.cluster import Cluster
from tests.e2e.system import System
from tests.fuzz.run import Run

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.alone]

# From an honest callback to its row, in the middle and at most. Measured on two cores with ten
# busy processes for each, as a loaded CI machine: 0.8 s and 2.9 s.
USUAL_SECONDS = 2.0
HONEST_SECONDS = 5.0
# From an honest payment through all processes to its settlement. Measured there: 2.1 s at most.
SETTLED_SECONDS = 10.0
# The growth of a process since the first round. Measured: 9 MiB in 1,700 requests.
GROWTH_MIB = 128.0


def test_generated_requests_and_records_leave_the_system_as_it_was(
    system: System, cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    given = request.config.getoption("--fuzz-seed")
    seed = int(given) if given else SystemRandom().randrange(1 << 32)
    print(f"\nseed {seed}")
    result = Run(system, cluster, seed).rounds(request.config.getoption("--fuzz-seconds"), print)
    assert not result.problems, "\n".join([f"seed {seed}:", *result.problems])
    assert median(result.honest) < USUAL_SECONDS
    assert max(result.honest) < HONEST_SECONDS
    assert max(result.settled) < SETTLED_SECONDS
    assert max(result.growth.values()) < GROWTH_MIB, result.growth
    assert result.kept > 20 * result.rounds
