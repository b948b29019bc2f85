"""What the processes' probes say, as the page tells it."""

import httpx
import pytest

from connectors.board.health import Watch

METRICS = """
# TYPE linkstatus_stage_lag_records gauge
linkstatus_stage_lag_records{stage="track"} 7.0
linkstatus_stage_lag_records{stage="orders"} 0.0
# TYPE linkstatus_lookups_waiting gauge
linkstatus_lookups_waiting{provider="ping"} 3.0
# TYPE linkstatus_provider_down gauge
linkstatus_provider_down{provider="ping"} 1.0
linkstatus_provider_down{provider="peach"} 0.0
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.7e9
"""


def answering(request: httpx.Request) -> httpx.Response:
    if request.url.host == "away":
        raise httpx.ConnectError("refused")
    if request.url.path == "/metrics":
        return httpx.Response(200, text="{{{" if request.url.host == "odd" else METRICS)
    ready = request.url.host != "late"
    return httpx.Response(200 if ready else 503, text="ready\n" if ready else "no partitions\n")


async def looked(**addresses: str) -> Watch:
    watch = Watch(addresses)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answering)) as client:
        await watch.look(client)
    return watch


async def test_a_ready_process_says_what_waits_for_it() -> None:
    watch = await looked(work="http://work:1")
    (work,) = watch.seen
    assert (work.state, work.why, work.lag) == ("ready", "", 10)
    assert work.waiting == {"track": 7, "orders": 0, "ping": 3}
    assert work.held_back == ("ping",)
    assert work.started_at == 1_700_000_000_000_000
    assert list(watch.lags) == [10]


@pytest.mark.parametrize(
    ("host", "state", "why"),
    [
        ("late", "not ready", "no partitions"),
        ("away", "silent", "refused"),
        ("odd", "not ready", "its metrics cannot be read"),
    ],
)
async def test_one_that_is_not_well_says_why_and_its_neighbour_is_seen(
    host: str, state: str, why: str
) -> None:
    watch = await looked(one=f"http://{host}:1", work="http://work:1")
    ill, well = watch.seen
    assert (ill.state, ill.why) == (state, why)
    assert well.state == "ready"
