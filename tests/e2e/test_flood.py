"""D3: a flood of forged, unsigned claims of links that do not exist, and honest ones among them.

`make flood` runs it as a measurement: 500 claims a second for a minute. The forger is one client
behind a proxy on this machine, which `X-Forwarded-For` names.
"""

import asyncio
import json
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from connectors.kafka.cluster import Cluster
from schemas.codec import SETTLEMENT
from tests.e2e.system import System
from tests.support.codecs import CODECS
from tests.support.reading import read_all
from tests.support.sandboxing import Providers
from tests.support.waiting import PATIENCE, until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

RATE = int(os.environ.get("FLOOD_RATE", "100"))
SECONDS = int(os.environ.get("FLOOD_SECONDS", "10"))
_CONNECTIONS = 10
_LONGEST = 10.0
_SETTLED = {"ping": "CONFIRMED", "ipint": "EXPECTED"}


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"LINKSTATUS_PROVIDERS": "ping,ipint"}


@dataclass
class Flood:
    """Forged claims at a steady rate, on a thread of its own; the statuses of the answers."""

    url: str
    answers: Counter[int] = field(default_factory=Counter)

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        await asyncio.gather(*(self._send(number) for number in range(_CONNECTIONS)))

    async def _send(self, first: int) -> None:
        edge = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(edge.hostname, edge.port)
        started = time.monotonic()
        for turn, number in enumerate(range(first, RATE * SECONDS, _CONNECTIONS)):
            await asyncio.sleep(started + turn * _CONNECTIONS / RATE - time.monotonic())
            writer.write(self._claim(number))
            head = await reader.readuntil(b"\r\n\r\n")
            self.answers[int(head.split()[1])] += 1
        writer.close()
        await writer.wait_closed()

    def _claim(self, number: int) -> bytes:
        provider, body = "ipint", {"invoice_id": f"forged-{number}", "status": "COMPLETED"}
        if number % 2:
            provider = "ping"
            body = {"payment_link_id": f"forged-{number}", "status": "COMPLETED"}
        content = json.dumps(body).encode()
        head = (
            f"POST /callbacks/{provider} HTTP/1.1\r\nhost: edge\r\n"
            "content-type: application/json\r\nx-forwarded-for: 192.0.2.66\r\n"
            f"content-length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content


def pay_unregistered(providers: Providers, number: int) -> tuple[str, str]:
    """Let a payer pay a link that we do not know. Return its provider and its order."""
    provider, name = ("ping", "ipint")[number % 2], f"honest-{number}"
    providers.create(provider, name, **({"order_id": name} if provider == "ping" else {}))
    providers.move(provider, name, "COMPLETED")
    return provider, name


def settled(cluster: Cluster) -> dict[tuple[str, str], float]:
    """Return when the last settlement of each order was written, by provider and order."""
    found = {}
    for message in read_all(cluster, "settlement"):
        settlement = CODECS.decode(SETTLEMENT, message.value())
        if settlement["kind"] == _SETTLED[settlement["provider"]]:
            order = settlement["provider"], settlement["order_id"]
            found[order] = message.timestamp()[1] / 1000
    return found


def memory(system: System) -> dict[str, int]:
    """Return the resident MiB of each process, by its last argument."""
    return {
        f"{process.cmdline()[-1].rpartition('/')[2]} {process.pid}": process.memory_info().rss >> 20
        for process in system.family()
    }


def test_d3_honest_newcomers_are_settled_within_seconds_during_a_flood(
    system: System, cluster: Cluster, providers: Providers
) -> None:
    before, flood, paid = memory(system), Flood(system.url), {}
    forger = threading.Thread(target=flood.run)
    forger.start()
    for number in range(SECONDS):
        at = time.time()
        paid[pay_unregistered(providers, number)] = at
        time.sleep(max(0.0, at + 1 - time.time()))
    forger.join()
    peak = memory(system)
    until_sync(lambda: paid.keys() <= settled(cluster).keys(), "the honest claims", PATIENCE)
    took = sorted(settled(cluster)[order] - at for order, at in paid.items())
    p99 = took[min(len(took) - 1, len(took) * 99 // 100)]
    print(
        f"\nedge: {dict(flood.answers)}; honest: p50 {took[len(took) // 2]:.2f} s, p99 {p99:.2f} s"
    )
    print("MiB:", ", ".join(f"{name} {before.get(name, 0)} → {peak[name]}" for name in peak))
    assert flood.answers == {200: RATE * SECONDS}
    assert p99 < _LONGEST
    assert peak.keys() == before.keys(), "a process was started again"
