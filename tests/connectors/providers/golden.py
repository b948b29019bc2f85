"""Golden cases: a request as the provider sends it, its raw record, and the facts in it."""

import base64
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from truelayer_signing import HttpMethod, sign_with_pem

from connectors.providers.base import Inbound, Provider, UnknownStatus, Unreadable
from connectors.providers.raw import Raw
from connectors.providers.registry import PROVIDERS

FOLDER = Path(__file__).parents[2] / "golden"
# 2024-01-16T15:00:00Z
RECEIVED_AT = 1_705_417_200_000_000
ORIGIN = "callbacks/0/0"
KID = "a-key-of-the-tests"
JKU = "https://webhooks.truelayer.com/.well-known/jwks"
# A public key pair: it signs only tests.
_KEY = ec.derive_private_key(20211225, ec.SECP521R1())


@dataclass(frozen=True)
class Case:
    """One golden file."""

    file: Path

    @cached_property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.file.read_text())
        return content

    @property
    def expected(self) -> list[dict[str, Any]]:
        facts: list[dict[str, Any]] = self.content["expected"]
        return facts

    @property
    def provider(self) -> str:
        return self.file.parent.name

    def instance(self) -> Provider:
        kind = PROVIDERS[self.provider]
        return kind(kind.Config(**self.content.get("config", {})))

    @property
    def is_callback(self) -> bool:
        return "link_id" not in self.content["record"]

    def inbound(self) -> Inbound:
        request = self.content["request"]
        inbound = Inbound(request["path"], request["headers"], request["body"].encode())
        if request["headers"].get("tl-signature") == "<signed>":
            signature = truelayer_signature(inbound)
            return Inbound(
                inbound.path, {**inbound.headers, "tl-signature": signature}, inbound.body
            )
        return inbound

    def raw(self, **changes: Any) -> Raw:
        request, record = self.content["request"], dict(self.content["record"])
        values = {
            "provider": self.provider,
            "body": request["body"].encode(),
            "headers": request["headers"],
            "lookup_status": request["headers"].get("lookup-status", "200"),
            "received_at": RECEIVED_AT,
            "origin": ORIGIN,
            **record,
            **changes,
        }
        return Raw(**values)

    def __str__(self) -> str:
        return f"{self.provider}/{self.file.stem}"


def cases(provider: str) -> list[Case]:
    """Return the golden cases of a provider."""
    return [Case(file) for file in sorted((FOLDER / provider).glob("*.json"))]


ALL = [case for provider in PROVIDERS for case in cases(provider)]


def facts(provider: Provider, raw: Raw) -> list[dict[str, Any]]:
    """Return the facts in the format of the golden files: without nulls, an error as a fact."""
    try:
        facts = provider.read(raw)
    except UnknownStatus as error:
        return [{"unknown_status": error.provider_status, "link_id": error.link_id}]
    except Unreadable as error:
        return [{"unreadable": str(error)}]
    return [
        *({"event": _without_nulls(event)} for event in facts.events),
        *({"payment": _without_nulls(payment)} for payment in facts.payments),
        *({"notice": _without_nulls(notice)} for notice in facts.notices),
        *({"lookup": _without_nulls(lookup)} for lookup in facts.lookups),
        *({"refused": f"{item}: {error}"} for item, error in facts.refused),
    ]


def _without_nulls(record: Any) -> dict[str, Any]:
    return {
        name: _without_nulls(value) if isinstance(value, dict) else value
        for name, value in record.items()
        # Only an import says that an order was closed elsewhere.
        if value not in (None, {}) and (name, value) != ("closed_elsewhere", False)
    }


def jwks(kid: str = KID) -> bytes:
    """Return a key set with the tests' key. As at TrueLayer, its first key has another type."""
    numbers = _KEY.public_key().public_numbers()
    key = {"kty": "EC", "alg": "ES512", "kid": kid, "crv": "P-521"}
    key |= {"x": _b64(numbers.x.to_bytes(66)), "y": _b64(numbers.y.to_bytes(66))}
    other = {"kty": "RSA", "alg": "RS512", "kid": "another", "n": "AQAB", "e": "AQAB"}
    return json.dumps({"keys": [other, key]}).encode()


def truelayer_signature(inbound: Inbound, jku: str = JKU, kid: str = KID) -> str:
    """Return a `Tl-Signature` by the tests' key, over the headers that TrueLayer signs."""
    pem = _KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    signed = {"X-Tl-Webhook-Timestamp": "x-tl-webhook-timestamp", "Content-Type": "content-type"}
    signer = sign_with_pem(kid, pem).set_jku(jku).set_method(HttpMethod.POST)
    for name, header in signed.items():
        if header in inbound.headers:
            signer.add_header(name, inbound.headers[header])
    return str(signer.set_path(inbound.path).set_body(inbound.body.decode()).sign())


def _b64(number: bytes) -> str:
    return base64.urlsafe_b64encode(number).rstrip(b"=").decode()
