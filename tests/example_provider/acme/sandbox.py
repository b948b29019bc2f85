"""The simulated Acme: an API for lookups, and signed callbacks."""

import hmac
from typing import ClassVar
from uuid import uuid4

from connectors.providers.base import ApiRequest, ApiResponse
from connectors.providers.simulator import (
    Callback,
    Doc,
    Lifecycle,
    NewLink,
    ParsedRequest,
    Simulator,
    Site,
    json_callback,
    json_response,
    rfc3339,
)
from schemas.money import major_units


class Sandbox(Simulator):
    kind = "acme"
    RETRY_SECONDS = (60.0, 60.0, 60.0)
    LIFECYCLES: ClassVar = {
        "paid": Lifecycle(("paid",), ("PAID",), "PAID"),
        "lapsed": Lifecycle(("lapsed",), ("EXPIRED",)),
        "left open": Lifecycle((), ("CREATED",)),
    }
    CURRENCY = "EUR"
    STEPS = ("paid", "lapsed", "voided")
    EXAMPLE_LINK = "acme-1"

    @staticmethod
    def generate_secrets() -> dict[str, str]:
        return {"api_key": uuid4().hex, "webhook_secret": uuid4().hex}

    @staticmethod
    def environment(site: Site) -> dict[str, str]:
        return {
            "API_URL": site.api_url,
            "API_KEY": site.secrets["api_key"],
            "WEBHOOK_SECRETS": f'["{site.secrets["webhook_secret"]}"]',
        }

    def set_example(self, status: str, now: int) -> None:
        if self.state.get("link", self.EXAMPLE_LINK) is None:
            self._store(_new(NewLink(self.EXAMPLE_LINK, 1250, "EUR")), status or "paid", now)

    def create(self, link: NewLink, now: int) -> None:
        self._notify(self._store(_new(link), "open", now))

    def take_step(self, link: Doc, step: str, now: int) -> None:
        self._notify(self._store(link, step, now))

    @staticmethod
    def sign(site: Site, callback: Callback, url: str, now: int) -> dict[str, str]:
        secret = site.secrets["webhook_secret"].encode()
        return {"x-acme-signature": hmac.digest(secret, callback.body, "sha256").hex()}

    def respond(self, request: ApiRequest, now: int) -> ApiResponse:
        call = ParsedRequest.of(request)
        if call.headers.get("x-acme-key") != self.site.secrets["api_key"]:
            return json_response(401)
        if call.parts[:1] == ("batches",):
            return json_response(200, {"events": self.state.all("link")})
        link = self.state.get("link", call.parts[-1]) if call.parts[:1] == ("links",) else None
        return json_response(200, link) if link else json_response(404)

    def _store(self, link: Doc, status: str, now: int) -> Doc:
        link = link | {"state": status, "since": rfc3339(now)}
        self.state.put("link", link["link"], link)
        return link

    def _notify(self, link: Doc) -> None:
        self.state.enqueue(json_callback(link))


def _new(link: NewLink) -> Doc:
    amount = str(major_units(link.amount_minor, link.currency))
    return {"link": link.link_id, "sum": amount, "money": link.currency}
