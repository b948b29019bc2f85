"""How links, payments, events and keys of the simulated TrueLayer look."""

import base64
from collections.abc import Mapping
from uuid import uuid4

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from connectors.sandbox.simulator import DAY, SECOND, Doc, rfc3339

# What may happen to a link or its last payment -> the link's status then.
STEPS: Mapping[str, str] = {
    "payment_created": "disabling",
    "authorized": "disabling",
    "executed": "disabling",
    "settlement_stalled": "disabling",
    "settled": "disabling",
    "creditable": "disabling",
    "failed": "enabled",
    "fulfilled": "disabled",
    "expired": "disabled",
}
# Those of them that are a status of the payment, or only a time in it.
STATUSES = {"payment_created": "authorizing"} | {
    word: word for word in ("authorized", "executed", "settled", "failed")
}
TIMED = {"authorized", "executed", "settlement_stalled", "settled", "creditable", "failed"}
# What comes to the same URI and tells nothing of a link -> whose id and what time its event has.
ASIDES = {
    "refund_executed": ("refund_id", "executed_at"),
    "refund_failed": ("refund_id", "failed_at"),
    "payout_executed": ("payout_id", "executed_at"),
    "mandate_authorized": ("mandate_id", "authorized_at"),
}
METHOD = {
    "type": "bank_transfer",
    "provider_id": "mock-payments-gb-redirect",
    "scheme_id": "faster_payments_service",
}
REASON = {"failure_stage": "authorizing", "failure_reason": "provider_rejected"}


def new(link_id: str, amount_minor: int, currency: str, request: Doc, now: int) -> Doc:
    """A link as it starts: what was asked for, with an id and a status."""
    money = {"amount_in_minor": amount_minor, "currency": currency}
    given = {name: request[name] for name in ("reference", "return_uri") if name in request}
    return given | {
        "id": link_id,
        "type": "single_payment",
        "status": "enabled",
        "created_at": rfc3339(now),
        "expires_at": request.get("expires_at") or rfc3339(now + DAY * SECOND),
        "payment_configuration": request.get("payment_configuration", {}) | money,
    }


def new_payment(payment_id: str, link: Doc, now: int) -> Doc:
    """A payment as it starts."""
    configuration = link["payment_configuration"]
    return {
        "id": payment_id,
        "amount_in_minor": configuration["amount_in_minor"],
        "currency": configuration["currency"],
        "status": "authorization_required",
        "created_at": rfc3339(now),
        "payment_method": METHOD | {"beneficiary": {"type": "merchant_account"}},
        "metadata": configuration.get("metadata", {}),
    }


def changed(payment: Doc, word: str, now: int) -> Doc:
    """The payment after `word`, one of STEPS."""
    after = payment | {"status": STATUSES.get(word, payment["status"])}
    if word in TIMED:
        after[f"{word}_at"] = rfc3339(now)
    return after | (REASON if word == "failed" else {})


def event(link_id: str, payment_id: str | None, word: str, now: int, metadata: Doc) -> Doc:
    """The event that tells of `word`. Two kinds name the link, the others only its payment, with
    the merchant's metadata as they were given when the link was made.
    """
    at = rfc3339(now, "milliseconds")
    common: Doc = {"event_version": 1, "event_id": str(uuid4())}
    if word == "payment_created":
        about: Doc = {"payment_link_id": link_id, "payment": {"id": payment_id, "created_at": at}}
        return {"type": "payment_link_payment_created"} | common | about
    if word in ("fulfilled", "expired"):
        reason = {"payment_link_id": link_id, "disabled_reason": word, "disabled_at": at}
        return {"type": "payment_link_disabled"} | common | reason
    about = {"payment_id": payment_id, f"{word}_at": at, "payment_method": METHOD}
    about |= {"metadata": metadata} if metadata else {}
    return {"type": f"payment_{word}"} | common | about | (REASON if word == "failed" else {})


def aside(payment_id: str | None, word: str, now: int) -> Doc:
    """The event of one of ASIDES. Only a refund names the payment."""
    subject, time = ASIDES[word]
    of = {"payment_id": payment_id} if subject == "refund_id" else {}
    about = {"type": word, "event_version": 1, "event_id": str(uuid4()), subject: str(uuid4())}
    return about | of | {time: rfc3339(now, "milliseconds")}


def private_pem() -> str:
    """A new signing key."""
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key = ec.generate_private_key(ec.SECP521R1())
    return key.private_bytes(pem, pkcs8, serialization.NoEncryption()).decode()


def public_jwk(secrets: Mapping[str, str]) -> dict[str, str]:
    """The public half of the signing key (RFC 7518 §6.2.1: 66 bytes a coordinate on P-521)."""
    key = serialization.load_pem_private_key(secrets["private_key"].encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the signing key is not an elliptic curve key")
    numbers = key.public_key().public_numbers()
    kind = {"kty": "EC", "crv": "P-521", "alg": "ES512", "use": "sig", "kid": secrets["kid"]}
    return kind | {"x": _base64url(numbers.x), "y": _base64url(numbers.y)}


def _base64url(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(66, "big")).rstrip(b"=").decode()
