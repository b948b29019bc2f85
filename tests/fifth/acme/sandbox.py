"""Acme, simulated: one API to look links up, and signed callbacks."""

import hmac
from typing import ClassVar
from uuid import uuid4

from connectors.provider import ApiRequest, ApiResponse
from connectors.sandbox.simulator import (
    Callback,
    Called,
    Doc,
    Life,
    NewLink,
    Simulator,
    Site,
    answered,
    rfc3339,
    said,
)
from schemas.money import major_units

SEED_LINK = "acme-1"


class Sandbox(Simulator):
    name = "acme"
    RETRY_SECONDS = (60.0, 60.0, 60.0)
    LIVES: ClassVar = {
        "paid": Life(("paid",), ("PAID",), "PAID"),
        "lapsed": Life(("lapsed",), ("EXPIRED",)),
        "left open": Life((), ("CREATED",)),
    }
    CURRENCY = "EUR"

    @staticmethod
    def generate_secrets() -> dict[str, str]:
        return {"api_key": uuid4().hex, "webhook_secret": uuid4().hex}

    @staticmethod
    def environment(site: Site) -> dict[str, str]:
        return {
            "API_URL": f"{site.base_url}/acme",
            "API_KEY": site.secrets["api_key"],
            "WEBHOOK_SECRETS": f'["{site.secrets["webhook_secret"]}"]',
        }

    def seed(self, word: str, now: int) -> None:
        if self.state.get("link", SEED_LINK) is None:
            self._become(_new(NewLink(SEED_LINK, 1250, "EUR")), word or "paid", now)

    def create(self, link: NewLink, now: int) -> None:
        self._tell(self._become(_new(link), "open", now))

    def move(self, link_id: str, word: str, now: int) -> None:
        link = self.state.get("link", link_id)
        if link is None or word not in ("paid", "lapsed", "voided"):
            raise KeyError(f"{link_id} {word}")
        self._tell(self._become(link, word, now))

    @staticmethod
    def sign(site: Site, callback: Callback, url: str, now: int) -> dict[str, str]:
        secret = site.secrets["webhook_secret"].encode()
        return {"x-acme-signature": hmac.digest(secret, callback.body, "sha256").hex()}

    def answer(self, request: ApiRequest, now: int) -> ApiResponse:
        call = Called.of(request)
        if call.headers.get("x-acme-key") != self.site.secrets["api_key"]:
            return answered(401)
        link = self.state.get("link", call.parts[-1]) if call.parts[:1] == ("links",) else None
        return answered(200, link) if link else answered(404)

    def _become(self, link: Doc, word: str, now: int) -> Doc:
        told = link | {"state": word, "since": rfc3339(now)}
        self.state.put("link", told["link"], told)
        return told

    def _tell(self, link: Doc) -> None:
        self.state.owe(said(link))


def _new(link: NewLink) -> Doc:
    amount = str(major_units(link.amount_minor, link.currency))
    return {"link": link.link_id, "sum": amount, "money": link.currency}
