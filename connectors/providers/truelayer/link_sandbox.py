"""Links, payments, events and keys of the simulated TrueLayer."""

import base64
from collections.abc import Mapping
from uuid import uuid4

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from connectors.providers.simulator import DAY, SECOND, Doc, rfc3339

# Step of a link or of its last payment -> status of the link.
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
# Steps that set the status of the payment, and steps that set a time in it.
STATUSES = {"payment_created": "authorizing"} | {
    word: word for word in ("authorized", "executed", "settled", "failed")
}
TIMED = {"authorized", "executed", "settlement_stalled", "settled", "creditable", "failed"}
# Events at the same URI that are not about a link -> the names of their id and of their time.
NOTICES = {
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
    """Return a new link with the terms of a request."""
    money = {"amount_in_minor": amount_minor, "currency": currency}
    terms = {name: request[name] for name in ("reference", "return_uri") if name in request}
    return terms | {
        "id": link_id,
        "type": "single_payment",
        "status": "enabled",
        "created_at": rfc3339(now),
        "expires_at": request.get("expires_at") or rfc3339(now + DAY * SECOND),
        "payment_configuration": request.get("payment_configuration", {}) | money,
    }


def new_payment(payment_id: str, link: Doc, now: int) -> Doc:
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


def after_step(payment: Doc, step: str, now: int) -> Doc:
    after = payment | {"status": STATUSES.get(step, payment["status"])}
    if step in TIMED:
        after[f"{step}_at"] = rfc3339(now)
    return after | (REASON if step == "failed" else {})


def event(link_id: str, payment_id: str | None, step: str, now: int, metadata: Doc) -> Doc:
    """Return the event about a step.

    Two kinds name the link. The others name only the payment, with the metadata that the merchant
    set when it created the link.
    """
    at = rfc3339(now, "milliseconds")
    common: Doc = {"event_version": 1, "event_id": str(uuid4())}
    if step == "payment_created":
        about: Doc = {"payment_link_id": link_id, "payment": {"id": payment_id, "created_at": at}}
        return {"type": "payment_link_payment_created"} | common | about
    if step in ("fulfilled", "expired"):
        reason = {"payment_link_id": link_id, "disabled_reason": step, "disabled_at": at}
        return {"type": "payment_link_disabled"} | common | reason
    about = {"payment_id": payment_id, f"{step}_at": at, "payment_method": METHOD}
    about |= {"metadata": metadata} if metadata else {}
    return {"type": f"payment_{step}"} | common | about | (REASON if step == "failed" else {})


def notice(step: str, now: int) -> Doc:
    """Return an event of NOTICES. It names no payment."""
    subject, time = NOTICES[step]
    about = {"type": step, "event_version": 1, "event_id": str(uuid4()), subject: str(uuid4())}
    return about | {time: rfc3339(now, "milliseconds")}


def private_pem() -> str:
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key = ec.generate_private_key(ec.SECP521R1())
    return key.private_bytes(pem, pkcs8, serialization.NoEncryption()).decode()


def public_jwk(secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the public signing key (RFC 7518 §6.2.1: 66 bytes per coordinate on P-521)."""
    key = serialization.load_pem_private_key(secrets["private_key"].encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the signing key is not an elliptic curve key")
    numbers = key.public_key().public_numbers()
    kind = {"kty": "EC", "crv": "P-521", "alg": "ES512", "use": "sig", "kid": secrets["kid"]}
    return kind | {"x": _base64url(numbers.x), "y": _base64url(numbers.y)}


def _base64url(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(66, "big")).rstrip(b"=").decode()
