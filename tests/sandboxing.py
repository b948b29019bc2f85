"""What a test does to the simulated providers of a running system, and what it asks of `work`."""

from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.system import System
from tests.waiting import PATIENCE


class Providers:
    """The sandbox of a system, through its control API."""

    def __init__(self, system: System) -> None:
        self._system = system
        port = system.environment["LINKSTATUS_SANDBOX__PORT"]
        self._control = f"http://127.0.0.1:{port}/control"

    def create(self, provider: str, link_id: str, **said: Any) -> str:
        body = {"provider": provider, "link_id": link_id, **said}
        assert httpx.post(f"{self._control}/links", json=body, timeout=PATIENCE).status_code == 201
        return link_id

    def create_unheard_at_ping(self, order_id: str) -> str:
        """A link of the order whose callbacks go nowhere: what only Ping knows of."""
        said = self._system.environment
        body = {
            "payment_order_id": order_id,
            "currency": "SEK",
            "total_amount": 500,
            "items": [{"price": 500}],
            "payment_link_status_callback_url": "http://127.0.0.1:9/",
        }
        url = f"{said['LINKSTATUS_PING__LINKS_URL'].rstrip('/')}/api/v1/payment_links"
        headers = {
            "tenant_id": said["LINKSTATUS_PING__TENANT_ID"],
            "x-api-secret": said["LINKSTATUS_PING__API_SECRET"],
        }
        answer = httpx.post(url, json=body, headers=headers, timeout=PATIENCE)
        link_id: str = answer.raise_for_status().json()["id"]
        return link_id

    def move(self, provider: str, link_id: str, *words: str) -> None:
        """What happens to the link, in the provider's words; callbacks follow."""
        url = f"{self._control}/links/{provider}/{link_id}"
        assert httpx.post(url, json={"words": words}, timeout=PATIENCE).status_code == 204

    def log(self, provider: str, order_id: str) -> list[dict[str, Any]]:
        """The operations on an order that the provider has seen."""
        found: list[dict[str, Any]] = httpx.get(
            f"{self._control}/{provider}/orders/{order_id}/log", timeout=PATIENCE
        ).json()
        return found

    def register(self, provider: str, link_id: str, **said: Any) -> None:
        body = {"provider": provider, "link_id": link_id, **said}
        answer = httpx.post(f"{self._system.url}/links", json=body, timeout=PATIENCE)
        assert answer.status_code == 202, answer.text

    def call_back(self, provider: str, **body: Any) -> None:
        """An unsigned callback, by whomever."""
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
