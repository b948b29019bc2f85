"""iPint: invoices paid in crypto currency.

Vendor documents: "How to check payment status and details?" (support page), README of
    devbitfia/iPint.

Signature: none, and iPint's addresses change: a callback only triggers GET /invoice.
Retries: "multiple times", on an unknown schedule. Only 200 with an empty body counts as delivered.
Delivery guarantee: callbacks exist for COMPLETED and FAILED only; only polling finds CANCELLED.
Quirks: the support page writes GET /invoices, the API has /invoice. `invoice_id` is the
    `session_id` of /checkout. All values are strings, "" if unknown. `received_*` equal `invoice_*`
    before anything was received, so they count only when COMPLETED. A COMPLETED invoice can be
    underpaid or have amounts that cannot be compared: the integrator must compare. iPint wants no
    queries after COMPLETED, FAILED and CANCELLED, so we send none, whatever a callback claims. What
    we know then denies a claim of any end but FAILED and CANCELLED, which raises an anomaly. The
    signed text starts with "/api/", which the URL does not have. The samples disagree on the unit
    of the nonce; ours is microseconds, strictly growing.
"""

import hashlib
import hmac
from typing import ClassVar

from pydantic import SecretStr

from connectors.providers import api, base, lookup_answer, payload
from connectors.providers.ipint import invoices
from connectors.providers.raw import Raw
from schemas.records import LookupRequest, Status

STATUS: dict[str, Status] = {
    "CHECKING": "PROCESSING",
    "PROCESSING": "PROCESSING",
    "COMPLETED": "PAID",
    "FAILED": "FAILED",
    "CANCELLED": "CANCELLED",
}


class IPintConfig(base.ProviderConfig):
    api_url: api.Url = "https://api.ipint.io:8003"
    api_key: SecretStr | None = None
    api_secret: SecretStr | None = None


class IPint(base.Provider):
    """Invoices of iPint. The link is the invoice."""

    kind = "ipint"
    Config = IPintConfig
    settlement = "elsewhere"
    final_after_end = True
    # The nonces must grow in the order in which the requests arrive.
    max_concurrency = 1
    STATUS: ClassVar[payload.Statuses] = STATUS
    CREDENTIALS = ("api_key", "api_secret")
    LINK_COLUMNS = ("invoiceid", "sessionid")

    def __init__(self, config: IPintConfig, name: str = "") -> None:
        super().__init__(config, name)
        self._nonce = 0

    def key(self, body: bytes, content_type: str) -> str | None:
        return payload.first_identifier(body, "invoice_id")

    def authenticate(self, inbound: base.Inbound, jwks: bytes | None, now: int) -> bool:
        return False

    def read(self, raw: Raw) -> base.Facts:
        if raw.link_id is None:
            return base.Facts(events=(invoices.callback_event(raw, STATUS),))
        not_found = lookup_answer.not_found_facts(raw)
        return not_found or base.Facts(events=(invoices.answer_event(raw, STATUS),))

    def lookup(self, request: LookupRequest, now: int) -> base.Lookup:
        path = f"/invoice?id={api.path_part(request['link_id'])}"
        response = yield base.ApiRequest(
            "GET", self.config.api_url + path, self._headers(path, now)
        )
        document = api.document_of(response, "GET invoice")
        status = payload.member(document, "data", "transaction_status")
        stated_id = payload.member(document, "data", "invoice_id")
        ended = lookup_answer.has_ended(STATUS, request, stated_id, status)
        return base.Answer(response.status, response.body, ended)

    def _headers(self, path: str, now: int) -> dict[str, str]:
        self._nonce = max(self._nonce + 1, now)
        key, secret = self.config.api_key, self.config.api_secret
        signature = hmac.new(
            secret.get_secret_value().encode() if secret else b"",
            f"/api/{self._nonce}{path}".encode(),
            hashlib.sha384,
        )
        return {
            "content-type": "application/json",
            "apikey": key.get_secret_value() if key else "",
            "nonce": str(self._nonce),
            "signature": signature.hexdigest(),
        }
