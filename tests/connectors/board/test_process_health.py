"""The health of the processes, as their probes report it."""

import httpx
import pytest

from connectors.board.overview.process_health import HealthMonitor

METRICS = """
# TYPE linkstatus_stage_lag_records gauge
linkstatus_stage_lag_records{stage="track"} 7.0
linkstatus_stage_lag_records{stage="orders"} 0.0
# TYPE linkstatus_lookups_waiting gauge
linkstatus_lookups_waiting{provider="ping"} 3.0
# TYPE linkstatus_provider_down gauge
linkstatus_provider_down{provider="ping"} 1.0
linkstatus_provider_down{provider="peach"} 0.0
# TYPE linkstatus_notify_lag_records gauge
linkstatus_notify_lag_records{endpoint="crm"} 4.0
# TYPE linkstatus_notify_endpoint_down gauge
linkstatus_notify_endpoint_down{endpoint="crm"} 1.0
linkstatus_notify_endpoint_down{endpoint="shop"} 0.0
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.7e9
"""


def respond(request: httpx.Request) -> httpx.Response:
    if request.url.host == "down":
        raise httpx.ConnectError("refused")
    if request.url.path == "/metrics":
        return httpx.Response(200, text="{{{" if request.url.host == "odd" else METRICS)
    ready = request.url.host != "late"
    return httpx.Response(200 if ready else 503, text="ready\n" if ready else "no partitions\n")


async def checked(**addresses: str) -> HealthMonitor:
    monitor = HealthMonitor(addresses)
    async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as client:
        await monitor.check(client)
    return monitor


async def test_ready_process_reports_lag() -> None:
    monitor = await checked(work="http://work:1")
    (work,) = monitor.processes
    assert (work.state, work.reason, work.total_lag) == ("ready", "", 14)
    assert work.lag == {"track": 7, "orders": 0, "ping": 3, "crm": 4}
    assert (work.providers_down, work.endpoints_down) == (("ping",), ("crm",))
    assert work.started_at == 1_700_000_000_000_000
    assert list(monitor.lags) == [14]


@pytest.mark.parametrize(
    ("host", "state", "reason"),
    [
        ("late", "not_ready", "no partitions"),
        ("down", "unreachable", "refused"),
        ("odd", "not_ready", "cannot read its metrics"),
    ],
)
async def test_unhealthy_process_gives_reason_and_leaves_others_visible(
    host: str, state: str, reason: str
) -> None:
    monitor = await checked(settle=f"http://{host}:1", work="http://work:1")
    settle, work = monitor.processes
    assert (settle.state, settle.reason) == (state, reason)
    assert work.state == "ready"
