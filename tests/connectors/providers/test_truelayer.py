"""TrueLayer's signature: any invalid one is BadSignature, and keys come from one URL only."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.providers import examples
from connectors.providers.base import BadSignature, Inbound, KeysNeeded
from connectors.providers.truelayer import TrueLayer, TrueLayerConfig
from tests.connectors.providers import golden

VECTOR = Path(__file__).parent / "vectors" / "truelayer.json"
BODY = examples.body("truelayer", "payment_settled")
TIMESTAMP = {"x-tl-webhook-timestamp": "2021-12-25T15:00:00Z", "content-type": "application/json"}
UNSIGNED = Inbound("/callbacks/truelayer/a-token", TIMESTAMP, BODY)
HEADER = {
    "alg": "ES512",
    "kid": golden.KID,
    "tl_version": "2",
    "tl_headers": "X-Tl-Webhook-Timestamp",
    "jku": golden.JKU,
}


def signed(request: Inbound = UNSIGNED, **options: str) -> Inbound:
    signature = golden.truelayer_signature(request, **options)
    return Inbound(request.path, {**request.headers, "tl-signature": signature}, request.body)


def authenticate(
    request: Inbound, jwks: bytes | None = golden.jwks(), jku: str = golden.JKU
) -> bool:
    return TrueLayer(TrueLayerConfig(jku=jku)).authenticate(request, jwks, 0)


def jose(header: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()


def test_reference_vector_is_verified_and_any_change_is_refused() -> None:
    vector = json.loads(VECTOR.read_text())
    jwks = json.dumps(vector["jwks"]).encode()
    valid = Inbound(vector["path"], vector["headers"], vector["body"].encode())
    assert authenticate(valid, jwks) is True
    later = {**valid.headers, "x-tl-webhook-timestamp": "2021-12-02T14:18:00Z"}
    for changed in (
        Inbound("/another", valid.headers, valid.body),
        Inbound(valid.path, later, valid.body),
        Inbound(valid.path, valid.headers, valid.body + b" "),
        Inbound(valid.path, valid.headers, b"\xff" + valid.body),
    ):
        with pytest.raises(BadSignature):
            authenticate(changed, jwks)


def test_path_that_a_proxy_changes_is_signed_as_truelayer_calls_it() -> None:
    url = "https://pay.example.com/hooks/callbacks/truelayer/a-token"
    behind_proxy = TrueLayer(TrueLayerConfig(jku=golden.JKU, webhook_url=url))
    called = signed(replace(UNSIGNED, path="/hooks/callbacks/truelayer/a-token"))
    received = replace(called, path=UNSIGNED.path)
    assert behind_proxy.authenticate(received, golden.jwks(), 0) is True
    with pytest.raises(BadSignature):
        authenticate(received)
    with pytest.raises(BadSignature):
        behind_proxy.authenticate(signed(), golden.jwks(), 0)


@pytest.mark.parametrize("url", ["pay.example.com/callbacks/truelayer", "https://pay.example.com"])
def test_webhook_url_without_a_scheme_or_a_path_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        TrueLayerConfig(webhook_url=url)


@pytest.mark.parametrize("jwks", [None, golden.jwks(kid="rotated away")])
def test_unknown_key_needs_the_key_set(jwks: bytes | None) -> None:
    with pytest.raises(KeysNeeded) as needed:
        authenticate(signed(), jwks)
    assert (needed.value.url, needed.value.kid) == (golden.JKU, golden.KID)


@pytest.mark.parametrize(
    "jku",
    [
        "https://webhooks.truelayer-sandbox.com/.well-known/jwks",
        golden.JKU + "/",
        golden.JKU.upper(),
        "http://169.254.169.254/",
    ],
)
def test_keys_come_only_from_the_configured_url(jku: str) -> None:
    with pytest.raises(BadSignature, match="jku"):
        authenticate(signed(jku=jku), None)
    with pytest.raises(BadSignature, match="jku"):
        authenticate(signed(), None, jku)
    with pytest.raises(KeysNeeded):
        authenticate(signed(jku=jku), None, jku)


def test_timestamp_must_be_signed() -> None:
    without = signed(Inbound(UNSIGNED.path, {"content-type": "application/json"}, BODY))
    with pytest.raises(BadSignature, match=r"(?i)timestamp"):
        authenticate(Inbound(without.path, {**without.headers, **TIMESTAMP}, without.body))


HEADERS: list[Any] = [
    *(None, [], "text", {}, HEADER, {**HEADER, "extra": 1}),
    *({**HEADER, "alg": alg} for alg in ("none", "HS256")),
    *({**HEADER, "kid": kid} for kid in ({"a": 1}, "x" * 500)),
    *({**HEADER, "jku": jku} for jku in (None, [golden.JKU])),
    *({**HEADER, "tl_version": "1"}, {**HEADER, "tl_headers": None}),
]
TEXTS = ("", "..", "a..b", "a.b.c", "é..é", "\udcff..", "%..%")


@pytest.mark.parametrize("signature", [*TEXTS, *(f"{jose(header)}..AAAA" for header in HEADERS)])
def test_malformed_signature_is_refused(signature: str) -> None:
    with pytest.raises(BadSignature):
        authenticate(Inbound("/x", {**TIMESTAMP, "tl-signature": signature}, BODY))


@pytest.mark.parametrize("jwks", [b"", b"<html>", b"[]", b'{"keys": 1}', b'{"keys": [1]}'])
def test_malformed_key_set_verifies_nothing(jwks: bytes) -> None:
    with pytest.raises(BadSignature):
        authenticate(signed(), jwks)
