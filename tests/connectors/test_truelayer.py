"""TrueLayer: what is no proof is BadSignature, however odd; keys come from one place only."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from connectors import examples
from connectors.provider import BadSignature, Inbound, KeysNeeded
from connectors.truelayer import TrueLayer, TrueLayerConfig
from tests.connectors import golden

VECTOR = Path(__file__).parent / "vectors" / "truelayer.json"
BODY = examples.body("truelayer", "payment_settled")
STAMP = {"x-tl-webhook-timestamp": "2021-12-25T15:00:00Z", "content-type": "application/json"}
UNSIGNED = Inbound("/callbacks/truelayer/a-token", STAMP, BODY)
HEADER = {
    "alg": "ES512",
    "kid": golden.KID,
    "tl_version": "2",
    "tl_headers": "X-Tl-Webhook-Timestamp",
    "jku": golden.JKU,
}


def signed(request: Inbound = UNSIGNED, **how: str) -> Inbound:
    signature = golden.truelayer_signature(request, **how)
    return Inbound(request.path, {**request.headers, "tl-signature": signature}, request.body)


def authenticate(request: Inbound, jwks: bytes | None = golden.jwks()) -> bool:
    return TrueLayer(TrueLayerConfig()).authenticate(request, jwks, 0)


def jose(header: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()


def test_a_signed_callback_is_proven() -> None:
    assert authenticate(signed()) is True


def test_the_reference_vector_of_truelayer_is_proven_and_no_change_of_it_is() -> None:
    vector = json.loads(VECTOR.read_text())
    jwks = json.dumps(vector["jwks"]).encode()
    good = Inbound(vector["path"], vector["headers"], vector["body"].encode())
    assert authenticate(good, jwks) is True
    later = {**good.headers, "x-tl-webhook-timestamp": "2021-12-02T14:18:00Z"}
    for changed in (
        Inbound("/another", good.headers, good.body),
        Inbound(good.path, later, good.body),
        Inbound(good.path, good.headers, good.body + b" "),
    ):
        with pytest.raises(BadSignature):
            authenticate(changed, jwks)


def test_the_library_tolerates_a_slash_at_the_end() -> None:
    request = signed()
    assert authenticate(Inbound(request.path + "/", request.headers, request.body)) is True


def test_keys_are_asked_for_when_there_are_none() -> None:
    with pytest.raises(KeysNeeded) as needed:
        authenticate(signed(), None)
    assert (needed.value.url, needed.value.kid) == (golden.JKU, golden.KID)


def test_an_unknown_key_asks_for_the_keys_again() -> None:
    with pytest.raises(KeysNeeded):
        authenticate(signed(), golden.jwks(kid="rotated away"))


@pytest.mark.parametrize(
    "jku",
    [
        "https://webhooks.truelayer-sandbox.com/.well-known/jwks",
        golden.JKU + "/",
        golden.JKU.upper(),
        "http://169.254.169.254/",
    ],
)
def test_keys_of_another_place_are_never_asked_for(jku: str) -> None:
    with pytest.raises(BadSignature, match="jku"):
        authenticate(signed(jku=jku), None)


def test_the_configured_place_is_the_only_one() -> None:
    provider = TrueLayer(TrueLayerConfig(jku="http://127.0.0.1:1/jwks"))
    with pytest.raises(BadSignature, match="jku"):
        provider.authenticate(signed(), None, 0)
    with pytest.raises(KeysNeeded):
        provider.authenticate(signed(jku="http://127.0.0.1:1/jwks"), None, 0)


def test_the_timestamp_must_be_signed() -> None:
    without = Inbound(UNSIGNED.path, {"content-type": "application/json"}, BODY)
    late = signed(without)
    with pytest.raises(BadSignature, match=r"(?i)timestamp"):
        authenticate(Inbound(late.path, {**late.headers, **STAMP}, late.body))


@pytest.mark.parametrize("part", ["path", "stamp", "body"])
def test_each_signed_part_is_checked(part: str) -> None:
    good = signed()
    path = good.path + "x" if part == "path" else good.path
    headers = dict(good.headers)
    if part == "stamp":
        headers["x-tl-webhook-timestamp"] = "2021-12-25T15:00:01Z"
    body = good.body.replace(b"settled", b"created") if part == "body" else good.body
    with pytest.raises(BadSignature):
        authenticate(Inbound(path, headers, body))


@pytest.mark.parametrize(
    "header",
    [
        None,
        [],
        "text",
        {},
        {**HEADER, "extra": 1},
        {**HEADER, "alg": "none"},
        {**HEADER, "alg": "HS256"},
        {**HEADER, "tl_version": "1"},
        {**HEADER, "tl_headers": None},
        {**HEADER, "kid": {"a": 1}},
        {**HEADER, "kid": "x" * 500},
        {**HEADER, "jku": None},
        {**HEADER, "jku": [golden.JKU]},
        HEADER,
    ],
)
def test_odd_jose_headers_are_no_proof(header: Any) -> None:
    with pytest.raises(BadSignature):
        authenticate(Inbound("/x", {**STAMP, "tl-signature": f"{jose(header)}..AAAA"}, BODY))


@pytest.mark.parametrize("signature", ["", "..", "a..b", "a.b.c", "é..é", "\udcff..", "%..%"])
def test_odd_signatures_are_no_proof(signature: str) -> None:
    with pytest.raises(BadSignature):
        authenticate(Inbound("/x", {**STAMP, "tl-signature": signature}, BODY))


@pytest.mark.parametrize("jwks", [b"", b"<html>", b"[]", b'{"keys": 1}', b'{"keys": [1]}'])
def test_a_broken_key_set_proves_nothing(jwks: bytes) -> None:
    with pytest.raises(BadSignature):
        authenticate(signed(), jwks)


def test_a_body_that_is_no_text_is_no_proof() -> None:
    good = signed()
    with pytest.raises(BadSignature):
        authenticate(Inbound(good.path, good.headers, b"\xff" + good.body))
