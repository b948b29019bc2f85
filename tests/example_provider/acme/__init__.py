"""Acme (invented): payment links of one currency each.

Signature: optional. `x-acme-signature`, HMAC-SHA256 of the body in hex, with one of the webhook
    secrets.
Retries: three times, one minute apart, until the answer is 2xx.
Delivery guarantee: at least once, in no order; a repeat has the same event id.
Quirks: a callback is one event, a batch, `{"events": […]}`, or the announcement of a large batch,
    `{"batch": "…"}`, whose events the API returns; the amount is a decimal text in major units; a
    link that is unpaid for a day is `lapsed`.
"""

import hashlib
import hmac
from typing import Any, ClassVar

from pydantic import SecretStr

from connectors.providers import api, facts, lookup_answer, payload
from connectors.providers.base import (
    Answer,
    ApiRequest,
    BadSignature,
    Facts,
    Inbound,
    Lookup,
    Provider,
    ProviderConfig,
    Unreadable,
)
from connectors.providers.raw import Raw
from schemas.records import LookupRequest, Status

STATUS: dict[str, Status] = {
    "open": "CREATED",
    "paid": "PAID",
    "lapsed": "EXPIRED",
    "voided": "CANCELLED",
}


# A lookup names a batch by this prefix and its id; no link id starts so.
BATCHES = "batches/"


class AcmeConfig(ProviderConfig):
    api_url: api.Url = "https://api.acme.example"
    api_key: SecretStr | None = None
    webhook_secrets: tuple[SecretStr, ...] = ()


class Announcement(payload.Payload):
    batch: payload.Identifier


class Link(payload.Payload):
    link: payload.Identifier
    state: payload.Identifier
    since: payload.Timestamp | None = None
    sum: Any = None
    money: payload.CurrencyCode | None = None


class Acme(Provider):
    """Payment links of Acme."""

    kind = "acme"
    Config = AcmeConfig
    settlement = "elsewhere"
    max_concurrency = 4
    STATUS: ClassVar[payload.Statuses] = STATUS
    CREDENTIALS = ("api_key",)
    kept_headers = frozenset({"x-acme-signature"})

    def key(self, body: bytes, content_type: str) -> str | None:
        return payload.first_identifier(body, "link", "batch")

    def authenticate(self, inbound: Inbound, jwks: bytes | None, now: int) -> bool:
        if not self.config.webhook_secrets:
            return False
        received = inbound.headers.get("x-acme-signature", "").encode(errors="replace")
        for secret in self.config.webhook_secrets:
            key = secret.get_secret_value().encode()
            expected = hmac.new(key, inbound.body, hashlib.sha256).hexdigest()
            if hmac.compare_digest(received, expected.encode()):
                return True
        raise BadSignature("x-acme-signature is missing or wrong")

    def read(self, raw: Raw) -> Facts:
        if raw.link_id is None:
            return self._callback_facts(raw, payload.json_object(raw.body))
        if raw.link_id.startswith(BATCHES):
            return self._batch_facts(raw, raw.link_id.removeprefix(BATCHES))
        if not_found := lookup_answer.not_found_facts(raw):
            return not_found
        read = self._facts(raw, payload.json_object(raw.body))
        lookup_answer.checked_link_id(raw, read.events[0]["link_id"])
        return read

    def _callback_facts(self, raw: Raw, document: payload.Document) -> Facts:
        if document.get("events"):
            return self._items(raw, document["events"])
        if document.get("batch"):
            batch_id = payload.validate(Announcement, document).batch
            lookup = facts.lookup_request(raw, BATCHES + batch_id)
            return Facts(notices=(facts.notice(raw, "batch", batch_id),), lookups=(lookup,))
        return self._facts(raw, document)

    def _batch_facts(self, raw: Raw, batch_id: str) -> Facts:
        """Return the facts in the answer about a batch."""
        kind = "batch" + facts.LOOKED_UP
        if word := lookup_answer.not_found(raw):
            return Facts(notices=(facts.notice(raw, kind, batch_id, word),))
        read = self._items(raw, payload.json_object(raw.body).get("events"))
        if raw.item is not None:
            return read
        return read._replace(notices=(facts.notice(raw, kind, batch_id, "complete"),))

    def _items(self, raw: Raw, events: Any) -> Facts:
        return facts.of_items(raw, "events", events, lambda event: self._facts(raw, event))

    def _facts(self, raw: Raw, document: payload.Document) -> Facts:
        link = payload.validate(Link, document)
        link_id = link.link
        if link_id.startswith(BATCHES):
            raise Unreadable("link: is the name of a batch")
        amount_minor, amount_text = payload.amount("sum", link.sum, link.money)
        status = payload.map_status(STATUS, link_id, link.state)
        event = facts.link_event(
            raw,
            link_id,
            status,
            link.state,
            occurred_at=payload.micros(link.since),
            amount_minor=amount_minor,
            currency=link.money,
            denies=lookup_answer.denied_status(raw, status),
            attributes=link.unread() | amount_text,
        )
        return Facts(events=(event,))

    def lookup(self, request: LookupRequest, now: int) -> Lookup:
        key, subject = self.config.api_key, request["link_id"]
        path = f"links/{api.path_part(subject)}"
        if subject.startswith(BATCHES):
            path = BATCHES + api.path_part(subject.removeprefix(BATCHES))
        url = f"{self.config.api_url}/{path}"
        headers = {"x-acme-key": key.get_secret_value() if key else ""}
        response = yield ApiRequest("GET", url, headers)
        document = api.document_of(response, f"GET {path}")
        stated_id, state = payload.member(document, "link"), payload.member(document, "state")
        ended = lookup_answer.has_ended(STATUS, request, stated_id, state)
        return Answer(response.status, response.body, ended)
