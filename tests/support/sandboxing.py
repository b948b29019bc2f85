"""What a test does at the simulated providers of a running system; metrics of its processes."""

import time
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.system import System
from tests.support.waiting import PATIENCE


class Providers:
    """The sandbox of a system, through its control API."""

    def __init__(self, system: System) -> None:
        self._system = system
        port = system.environment["LINKSTATUS_SANDBOX__PORT"]
        self._control = f"http://127.0.0.1:{port}/control"

    def create(self, provider: str, link_id: str, **values: Any) -> str:
        body = {"provider": provider, "link_id": link_id, **values}
        assert httpx.post(f"{self._control}/links", json=body, timeout=PATIENCE).status_code == 201
        return link_id

    def create_without_callbacks_at_ping(self, order_id: str) -> str:
        """Create a link of the order whose callbacks go nowhere: only Ping knows it."""
        settings = self._system.environment
        body = {
            "payment_order_id": order_id,
            "currency": "SEK",
            "total_amount": 500,
            "items": [{"price": 500}],
            "payment_link_status_callback_url": "http://127.0.0.1:9/",
        }
        url = f"{settings['LINKSTATUS_PING__LINKS_URL'].rstrip('/')}/api/v1/payment_links"
        headers = {
            "tenant_id": settings["LINKSTATUS_PING__TENANT_ID"],
            "x-api-secret": settings["LINKSTATUS_PING__API_SECRET"],
        }
        answer = httpx.post(url, json=body, headers=headers, timeout=PATIENCE)
        link_id: str = answer.raise_for_status().json()["id"]
        return link_id

    def move(self, provider: str, link_id: str, *words: str) -> None:
        """Move the link through these statuses of the provider; callbacks follow."""
        url = f"{self._control}/links/{provider}/{link_id}"
        assert httpx.post(url, json={"steps": words}, timeout=PATIENCE).status_code == 204

    def settle_one(self, order_id: str) -> float:
        """Let an order run through all processes, and return the seconds that it took."""
        started = time.monotonic()
        self.move("ping", self.create("ping", order_id, order_id=order_id), "COMPLETED")
        path = f"/orders/ping/{order_id}"
        self._system.wait_for(path, lambda order: bool(order["state"] == "SETTLED"))
        return time.monotonic() - started

    def outage(self, provider: str, seconds: float) -> None:
        """Let the provider's API answer 503 for this time."""
        body = {"provider": provider, "seconds": seconds}
        assert httpx.post(f"{self._control}/down", json=body, timeout=PATIENCE).is_success

    def pay_out(self, provider: str, *order_and_links: tuple[str, str]) -> dict[str, str]:
        """Pay out orders with one link each; return what becomes of each order."""
        orders = [
            {"provider": provider, "order_id": order, "links": [link]}
            for order, link in order_and_links
        ]
        answer = httpx.post(f"{self._control}/payouts", json={"orders": orders}, timeout=PATIENCE)
        paid_out = answer.raise_for_status().json()["orders"]
        return {one["order_id"]: one["outcome"] for one in paid_out}

    def payout_file(self, provider: str) -> bytes:
        return httpx.get(f"{self._control}/{provider}/payouts.csv", timeout=PATIENCE).content

    def log(self, provider: str, order_id: str) -> list[dict[str, Any]]:
        """The operations on an order that the provider has seen."""
        log: list[dict[str, Any]] = httpx.get(
            f"{self._control}/{provider}/orders/{order_id}/log", timeout=PATIENCE
        ).json()
        return log

    def go_down(self, provider: str, seconds: float) -> None:
        """Let the provider's API answer 503 for a while; its callbacks come all the same."""
        form = {"provider": provider, "seconds": seconds}
        assert httpx.post(f"{self._control}/down", json=form, timeout=PATIENCE).status_code == 204

    def register(self, provider: str, link_id: str, **values: Any) -> None:
        body = {"provider": provider, "link_id": link_id, **values}
        answer = httpx.post(f"{self._system.url}/links", json=body, timeout=PATIENCE)
        assert answer.status_code == 202, answer.text

    def call_back(self, provider: str, **body: Any) -> None:
        """Send an unsigned callback."""
        answer = httpx.post(f"{self._system.url}/callbacks/{provider}", json=body, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text


def metric(system: System, process: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels, of one of the system's processes."""
    port = next(
        child.environ()["LINKSTATUS_HTTP__PORT"]
        for child in system.family()
        if child.cmdline()[-1:] == [process]
    )
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
