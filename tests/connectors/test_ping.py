"""Ping's optional signature: whatever scheme is set, what does not fit it is refused."""

import base64
import hashlib
import hmac

import pytest
from pydantic import ValidationError

from connectors import examples
from connectors.ping import Ping, PingConfig, signature
from connectors.provider import BadSignature, Inbound

BODY = examples.body("ping", "completed")


def ping(scheme: str, *keys: str) -> Ping:
    told = {"signature_scheme": scheme, "signature_header": "X-Signed", "signing_keys": keys}
    return Ping(PingConfig.model_validate(told))


def signed(scheme: str, key: str) -> str:
    _, algorithm, encoding = scheme.split("-")
    digest = hmac.new(key.encode(), BODY, getattr(hashlib, algorithm)).digest()
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()


def inbound(given: str | None, body: bytes = BODY) -> Inbound:
    return Inbound("/callbacks/ping", {} if given is None else {"x-signed": given}, body)


@pytest.mark.parametrize("scheme", signature.SCHEMES)
def test_a_signature_by_any_key_of_the_rotation_is_taken_and_stays_a_claim(scheme: str) -> None:
    rotating = ping(scheme, "new", "old")
    for key in ("new", "old"):
        assert rotating.authenticate(inbound(signed(scheme, key)), None, 0) is False


@pytest.mark.parametrize("scheme", signature.SCHEMES)
def test_what_does_not_fit_is_refused(scheme: str) -> None:
    good = signed(scheme, "new")
    wrong = [
        inbound(None),
        inbound(""),
        inbound("\xe9\udcff"),
        inbound(good[:-1]),
        inbound(signed(scheme, "withdrawn")),
        inbound(good, BODY + b" "),
    ]
    for each in wrong:
        with pytest.raises(BadSignature, match="X-Signed"):
            ping(scheme, "new").authenticate(each, None, 0)


def test_the_header_that_is_set_is_kept_with_the_raw_bytes() -> None:
    assert ping("hmac-sha256-hex", "one").kept_headers == {"x-signed"}
    assert Ping(PingConfig()).kept_headers == frozenset()


def test_it_is_off_unless_it_is_set() -> None:
    assert Ping(PingConfig()).authenticate(inbound(None), None, 0) is False


@pytest.mark.parametrize(
    "told",
    [
        {"signature_scheme": "hmac-sha256-hex"},
        {"signing_keys": ["one"]},
        {"signature_scheme": "rot13", "signature_header": "x", "signing_keys": ["one"]},
    ],
)
def test_half_a_setting_stops_the_start(told: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="SIGN"):
        PingConfig.model_validate(told)
