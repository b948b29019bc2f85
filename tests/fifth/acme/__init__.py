"""Acme (invented): payment links of one currency each.

Signature: `x-acme-signature`, HMAC-SHA256 of the body in hex, with one of the webhook secrets.
Retries: three times, a minute apart, until 2xx.
Delivery guarantee: at least once, in no order; a repeat has the same event id.
Quirks: the amount is a decimal text in major units; a link without money for a day is `lapsed`.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import ClassVar

from pydantic import SecretStr

from connectors import calling, reading
from connectors.provider import (
    Answer,
    ApiRequest,
    BadSignature,
    Facts,
    Inbound,
    Lookup,
    ProviderConfig,
    Raw,
    SettlementMode,
    Unreadable,
)
from schemas.money import BadAmount, minor_units
from schemas.records import LookupRequest, Status

STATUS: dict[str, Status] = {
    "open": "CREATED",
    "paid": "PAID",
    "lapsed": "EXPIRED",
    "voided": "CANCELLED",
}


class AcmeConfig(ProviderConfig):
    api_url: calling.Url = "https://api.acme.example"
    api_key: SecretStr | None = None
    webhook_secrets: tuple[SecretStr, ...] = ()


class Told(reading.Payload):
    link: reading.Identifier
    state: reading.Identifier
    since: reading.Moment | None = None
    sum: str | None = None
    money: reading.CurrencyCode | None = None


class Acme:
    """Payment links of Acme."""

    name: ClassVar[str] = "acme"
    Config: ClassVar[type[ProviderConfig]] = AcmeConfig
    settlement: ClassVar[SettlementMode] = "elsewhere"
    polls: ClassVar[bool] = True
    ends_for_good: ClassVar[bool] = False
    calls_at_once: ClassVar[int] = 4
    kept_headers: ClassVar[frozenset[str]] = frozenset({"x-acme-signature"})
    STATUS: ClassVar[Mapping[str, Status]] = STATUS

    def __init__(self, config: AcmeConfig) -> None:
        self.config = config

    def key(self, body: bytes, content_type: str) -> str | None:
        return reading.first_identifier(body, "link")

    def authenticate(self, inbound: Inbound, jwks: bytes | None, now: int) -> bool:
        given = inbound.headers.get("x-acme-signature", "").encode(errors="replace")
        for secret in self.config.webhook_secrets:
            key = secret.get_secret_value().encode()
            right = hmac.new(key, inbound.body, hashlib.sha256).hexdigest()
            if hmac.compare_digest(given, right.encode()):
                return True
        raise BadSignature("x-acme-signature is missing or wrong")

    def read(self, raw: Raw) -> Facts:
        if raw.link_id is not None and (refusal := reading.refusal(raw)):
            return refusal
        told = reading.load(Told, raw.body)
        link_id = told.link if raw.link_id is None else reading.same_link(raw, told.link)
        status = reading.status(STATUS, link_id, told.state)
        event = raw.event(
            link_id,
            status,
            told.state,
            occurred_at=reading.micros(told.since),
            amount_minor=_minor(told),
            currency=told.money,
            denies=raw.denial(status),
        )
        return Facts(events=(event,))

    def can_look_up(self) -> bool:
        return bool(self.config.api_key)

    def lookup(self, request: LookupRequest, now: int) -> Lookup:
        key = self.config.api_key
        url = f"{self.config.api_url}/links/{calling.path_part(request['link_id'])}"
        headers = {"x-acme-key": key.get_secret_value() if key else ""}
        response = yield ApiRequest("GET", url, headers)
        calling.succeeded(response, "GET link")
        return Answer(response.status, response.body)


def _minor(told: Told) -> int | None:
    if told.sum is None or told.money is None:
        return None
    try:
        return minor_units(told.sum, told.money)
    except BadAmount as error:
        raise Unreadable(f"sum: {error}") from None
