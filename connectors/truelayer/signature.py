"""`Tl-Signature`: judged by the package truelayer-signing, and by what that leaves to us."""

import orjson
from truelayer_signing import HttpMethod, extract_jws_header, verify_with_jwks

from connectors import reading
from connectors.provider import BadSignature, Inbound, KeysNeeded


def verify(inbound: Inbound, jku: str, jwks: bytes | None) -> None:
    """Raises BadSignature when the callback is not proven, KeysNeeded when `jwks` lacks its key."""
    try:
        _verify(inbound, jku, jwks)
    except (BadSignature, KeysNeeded):
        raise
    # An odd JOSE header raises TypeError there, `null` AttributeError: whatever it is, no proof.
    except Exception as error:
        raise BadSignature(f"Tl-Signature: {type(error).__name__}: {error}"[:200]) from None


def _verify(inbound: Inbound, jku: str, jwks: bytes | None) -> None:
    signature = inbound.headers.get("tl-signature")
    if not signature:
        raise BadSignature("Tl-Signature is missing")
    header = extract_jws_header(signature)
    # Before any key is fetched: else the sender would choose what we fetch.
    if header.jku != jku:
        raise BadSignature("Tl-Signature: jku is not the one configured")
    if not reading.is_identifier(header.kid):
        raise BadSignature("Tl-Signature: kid is no identifier")
    if jwks is None:
        raise KeysNeeded(jku, header.kid)
    known = [key for key in orjson.loads(jwks)["keys"] if key.get("kid") == header.kid]
    if not known:
        raise KeysNeeded(jku, header.kid)
    verifier = verify_with_jwks({"keys": known}, header)
    verifier.set_method(HttpMethod.POST).set_path(inbound.path).add_headers(inbound.headers)
    verifier.add_required_header("X-TL-Webhook-Timestamp").set_body(inbound.body.decode())
    verifier.verify(signature)
