"""The simulated TrueLayer signs its events: a receiver can verify them with the key set."""

import json

import pytest
import truelayer_signing

from connectors.providers.simulator import Callback
from tests.connectors.sandbox.sandboxes import BASE_URL, NOW, Simulated


def verify(truelayer: Simulated, callback: Callback, path: str, headers: dict[str, str]) -> None:
    """Verify the signature like a receiver, with the published key set."""
    jwks = json.loads(truelayer.call("GET", "/.well-known/jwks").body)
    header = truelayer_signing.extract_jws_header(headers["Tl-Signature"])
    assert header.jku == f"{BASE_URL}/truelayer/.well-known/jwks"
    verifier = truelayer_signing.verify_with_jwks(jwks, header)
    verifier.set_method(truelayer_signing.HttpMethod.POST).set_path(path)
    verifier.add_headers(headers).add_required_header("X-TL-Webhook-Timestamp")
    verifier.set_body(callback.body.decode()).verify(headers["Tl-Signature"])


def test_event_is_signed_with_the_published_key() -> None:
    truelayer = Simulated("truelayer")
    truelayer.create("expired")
    (callback,) = truelayer.callbacks()
    headers = truelayer.sandbox.sign(truelayer.site, callback, truelayer.site.callback_url, NOW)
    assert headers["X-Tl-Webhook-Timestamp"] == "2023-11-14T22:13:20Z"
    verify(truelayer, callback, "/callbacks/truelayer", headers)
    for changed, path in (
        (callback, "/callbacks/elsewhere"),
        (Callback(b"{}"), "/callbacks/truelayer"),
    ):
        with pytest.raises(truelayer_signing.errors.TlSigningException):
            verify(truelayer, changed, path, headers)
