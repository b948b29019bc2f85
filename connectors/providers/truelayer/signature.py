"""`Tl-Signature`: checked by the package truelayer-signing, and by what it leaves to us."""

import orjson
from truelayer_signing import HttpMethod, extract_jws_header, verify_with_jwks
from truelayer_signing.errors import TlSigningException

from connectors.providers.base import BadSignature, Inbound, KeysNeeded
from connectors.reasons import reason_of
from schemas import ids


def verify(inbound: Inbound, jku: str, jwks: bytes | None) -> None:
    """Raise BadSignature if the callback is not authentic, KeysNeeded if `jwks` lacks its key."""
    try:
        _verify(inbound, jku, jwks)
    except (BadSignature, KeysNeeded):
        raise
    # The package raises TypeError for a malformed JOSE header and AttributeError for `null`. Any
    # error means that the callback is not proven.
    except Exception as error:
        of_package = isinstance(error, TlSigningException) and error.__context__ is None
        reason = reason_of(error) if of_package else "it cannot be read as a detached JWS"
        raise BadSignature(f"Tl-Signature: {reason}"[:200]) from None


def _verify(inbound: Inbound, jku: str, jwks: bytes | None) -> None:
    signature = inbound.headers.get("tl-signature")
    if not signature:
        raise BadSignature("Tl-Signature is missing")
    header = extract_jws_header(signature)
    # We check this before we fetch a key: otherwise the sender could choose what we fetch.
    if header.jku != jku:
        raise BadSignature("Tl-Signature: jku is not the configured one")
    if not ids.is_identifier(header.kid):
        raise BadSignature("Tl-Signature: kid is not an identifier")
    if jwks is None:
        raise KeysNeeded(jku, header.kid)
    known = [key for key in orjson.loads(jwks)["keys"] if key.get("kid") == header.kid]
    if not known:
        raise KeysNeeded(jku, header.kid)
    verifier = verify_with_jwks({"keys": known}, header)
    verifier.set_method(HttpMethod.POST).set_path(inbound.path).add_headers(inbound.headers)
    verifier.add_required_header("X-TL-Webhook-Timestamp").set_body(inbound.body.decode())
    try:
        verifier.verify(signature)
    except TlSigningException:
        if not inbound.query:
            raise
        # TrueLayer does not document whether it signs the query of a webhook's URL.
        verifier.set_path(f"{inbound.path}?{inbound.query}").verify(signature)
