"""Ping's optional signature: its scheme is on trial until a callback fits it, then required."""

import base64
import hashlib
import hmac

import pytest
from pydantic import ValidationError

from connectors.providers import examples
from connectors.providers.base import BadSignature, Inbound, OnTrial
from connectors.providers.ping import Ping, PingConfig, signature

BODY = examples.body("ping", "completed")
every_scheme = pytest.mark.parametrize("scheme", signature.SCHEMES)


def ping(scheme: str, *keys: str) -> Ping:
    settings = {"signature_scheme": scheme, "signature_header": "X-Signed", "signing_keys": keys}
    return Ping(PingConfig.model_validate(settings))


def signed(scheme: str, key: str) -> str:
    _, algorithm, encoding = scheme.split("-")
    digest = hmac.new(key.encode(), BODY, getattr(hashlib, algorithm)).digest()
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()


def inbound(header: str | None, body: bytes = BODY) -> Inbound:
    return Inbound("/callbacks/ping", {} if header is None else {"x-signed": header}, body)


def judged(ping: Ping, *callbacks: Inbound) -> list[bool | str]:
    """Return how each callback is judged: whether it fits, or why it is refused."""
    judgements: list[bool | str] = []
    for callback in callbacks:
        try:
            assert ping.authenticate(callback, None, 0) is False, "every callback is a claim"
            judgements.append(True)
        except OnTrial as trial:
            judgements.append(trial.fits)
        except BadSignature as error:
            judgements.append(str(error))
    return judgements


def wrong(scheme: str) -> list[Inbound]:
    valid = signed(scheme, "new")
    return [
        inbound(None),
        inbound(""),
        inbound("\xe9\udcff"),
        inbound(valid[:-1]),
        inbound(signed(scheme, "withdrawn")),
        inbound(valid, BODY + b" "),
    ]


@every_scheme
@pytest.mark.parametrize("key", ["new", "old"])
def test_d7_guessed_scheme_is_on_trial_until_the_first_proof(scheme: str, key: str) -> None:
    rotating, others = ping(scheme, "new", "old"), wrong(scheme)
    assert judged(rotating, *others) == [False] * len(others)
    assert judged(rotating, inbound(signed(scheme, key))) == [True]
    assert judged(rotating, *others) == ["X-Signed is missing or wrong"] * len(others)


@every_scheme
def test_signature_by_any_key_is_accepted_and_stays_a_claim(scheme: str) -> None:
    callbacks = [inbound(signed(scheme, key)) for key in ("new", "old", "new")]
    assert judged(ping(scheme, "new", "old"), *callbacks) == [True] * 3


def test_configured_header_is_stored_with_the_raw_bytes() -> None:
    assert ping("hmac-sha256-hex", "key").kept_headers == {"x-signed"}
    assert Ping(PingConfig()).kept_headers == frozenset()


@pytest.mark.parametrize(
    "settings",
    [
        {"signature_scheme": "hmac-sha256-hex"},
        {"signing_keys": ["key"]},
        {"signature_scheme": "rot13", "signature_header": "x", "signing_keys": ["key"]},
    ],
)
def test_incomplete_settings_are_invalid(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="SIGN"):
        PingConfig.model_validate(settings)
