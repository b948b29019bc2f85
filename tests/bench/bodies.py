"""The callbacks of the four providers in the life of one link, as their documents print them."""

import hmac
import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

FORM = "application/x-www-form-urlencoded"
WEBHOOK_SECRET = "the benchmark's own"
WEBHOOK_URL = "https://shop.example/callbacks/peach"


class Sent(NamedTuple):
    """One callback, or the answer to one lookup (then `lookup` holds its claimed status)."""

    provider: str
    body: bytes
    verified: bool = False
    link_id: str | None = None
    lookup: str | None = None
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def uuid4(rng: random.Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))


def _json(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload).encode()


def _stamp(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.105356Z")


def ping(rng: random.Random, at: int) -> Iterator[Sent]:
    """Unsigned claims, each confirmed by a lookup; every seventh link expires."""
    link_id, order_id, amount = uuid4(rng), uuid4(rng), rng.randrange(100, 500_000)
    payment_id = uuid4(rng)
    ending = "EXPIRED" if rng.random() < 0.15 else "COMPLETED"

    def claim(status: str) -> Sent:
        payload = {"payment_link_id": link_id, "status": status, "occured_at": _stamp(at)}
        return Sent("ping", _json(payload), link_id=link_id)

    def answer(status: str, claimed: str) -> Sent:
        link: dict[str, Any] = {
            "payment_link_id": link_id,
            "payment_order_id": order_id,
            "payment_id": payment_id if status == "COMPLETED" else None,
            "tenant_id": "34f5c98e-f430-457b-a812-92637d0c6fd0",
            "status": status,
            "total_amount": amount,
            "items": [{"description": "Hawaii Pizza", "price": amount, "quantity": 1, "vat": 12}],
            "locale": "sv-SE",
            "due_date": "2026-03-25",
            "metadata": {},
        }
        order = {"id": order_id, "currency": "SEK", "status": "OPEN"}
        body = _json({"payment_link": link, "payment_order": order})
        return Sent("ping", body, True, link_id, claimed)

    last = claim(ending)
    yield from (claim("CREATED"), answer("CREATED", "CREATED"), last)
    yield from (answer(ending, "PAID" if ending == "COMPLETED" else ending), last)


def peach(rng: random.Random, at: int) -> Iterator[Sent]:
    """Signed webhooks; sometimes a Checkout event, a broken body or an unknown word."""
    link_id, luck = uuid4(rng), rng.random()

    def webhook(status: str, **more: str) -> Sent:
        body = _json({"status": status, "paymentId": link_id, **more})
        return Sent("peach", body, True, link_id, headers=peach_headers(body, uuid4(rng), at))

    yield webhook("initiated", url=f"https://l.ppay.io/{rng.getrandbits(64):016x}")
    yield from (webhook("opened"), webhook("processing"))
    registration = f"{rng.getrandbits(128):032x}"
    last = webhook("completed", paymentBrand="VISA", registrationId=registration)
    if luck < 0.2:
        last = webhook("expired" if luck < 0.1 else "cancelled")
    yield last
    if luck > 0.98:
        yield webhook("reversed")
    elif luck > 0.97:
        body = last.body[:-1] + b",}"
        yield last._replace(body=body, headers=peach_headers(body, uuid4(rng), at))
    elif luck > 0.8:
        yield _checkout(rng, at)
    else:
        yield last


def _checkout(rng: random.Random, at: int) -> Sent:
    body = (
        f"amount=14.99&checkoutId={rng.getrandbits(128):032x}&currency=ZAR"
        f"&id={rng.getrandbits(128):032x}&merchantTransactionId=UAT12345&paymentBrand=VISA"
        "&paymentType=DB&result.code=000.100.110&result.description=Request%20processed"
        "&timestamp=2026-01-25T08%3A27%3A46.916519Z"
    ).encode()
    return Sent("peach", body, True, None, None, FORM, peach_headers(body, uuid4(rng), at))


def peach_headers(body: bytes, webhook_id: str, at: int) -> tuple[tuple[str, str], ...]:
    """The headers with which Peach signs a webhook."""
    message = f"{at}.{webhook_id}.{WEBHOOK_URL}.".encode() + body
    return (
        ("x-webhook-id", webhook_id),
        ("x-webhook-signature", hmac.new(WEBHOOK_SECRET.encode(), message, "sha256").hexdigest()),
        ("x-webhook-signature-algorithm", "HMACSHA256"),
        ("x-webhook-timestamp", str(at)),
    )


def truelayer(rng: random.Random, at: int) -> Iterator[Sent]:
    """One webhook names the link, the others only its payment: they must be joined."""
    link_id, payment_id = f"{rng.getrandbits(64):011x}", uuid4(rng)

    def event(kind: str, **more: object) -> Sent:
        payload = {"type": kind, "event_version": 1, "event_id": uuid4(rng), **more}
        stamp = ("x-tl-webhook-timestamp", _stamp(at))
        headers = (("tl-signature", f"{rng.getrandbits(2000):0500x}"), stamp)
        return Sent("truelayer", _json(payload), True, link_id, headers=headers)

    def paid(step: str) -> Sent:
        method = {
            "type": "bank_transfer",
            "provider_id": "mock-payments-gb-redirect",
            "scheme_id": "faster_payments_service",
        }
        more = {"payment_method": method, "metadata": {"key1": "value1"}}
        at_step = {f"{step}_at": _stamp(at)}
        return event(f"payment_{step}", payment_id=payment_id, **at_step, **more)

    created = {"id": payment_id, "created_at": _stamp(at)}
    yield event("payment_link_payment_created", payment_link_id=link_id, payment=created)
    yield from (paid("authorized"), paid("executed"))
    # Two ends of one link would race, one through `join` and one past it, and the kinds of
    # settlement depend on the winner. One end per link makes all engines emit the same.
    last = paid("settled")
    if rng.random() < 0.3:
        more = {"disabled_reason": "fulfilled", "disabled_at": _stamp(at)}
        last = event("payment_link_disabled", payment_link_id=link_id, **more)
    yield from (last, last)


def ipint(rng: random.Random, at: int) -> Iterator[Sent]:
    """Unsigned claims and polls; one in ten is paid short, one in ten fails."""
    invoice_id, luck = f"{rng.getrandbits(160):033x}", rng.random()
    ending = "FAILED" if luck < 0.1 else "COMPLETED"
    price = Decimal(rng.randrange(1000, 900_000)) / 100
    received = price / 2 if 0.1 < luck < 0.2 else price
    claim = Sent("ipint", _json({"invoice_id": invoice_id, "status": ending}), link_id=invoice_id)

    def answer(status: str, claimed: str) -> Sent:
        invoice = {
            "invoice_id": invoice_id,
            "transaction_status": status,
            "blockchain_transaction_status": "CONFIRMED",
            "blockchain_confirmations": "6/6",
            "local_currency_code": "INR",
            "invoice_amount_in_local_currency": f"{price:.2f}",
            "invoice_amount_in_usd": "67.58",
            "invoice_crypto_amount": "0.11065324",
            "received_amount_in_local_currency": f"{received:.2f}",
            "received_amount_in_usd": "67.58",
            "received_crypto_amount": "0.11065324",
            "transaction_crypto": "BCH",
            "transaction_hash": f"{rng.getrandbits(256):064x}",
            "transaction_time": str(at),
        }
        company = {"company_name": "merchant-name", "website": "#"}
        body = _json({"data": invoice, "user_data": company})
        return Sent("ipint", body, True, invoice_id, claimed)

    yield from (answer("CHECKING", ""), answer("PROCESSING", ""), claim)
    yield from (answer(ending, "PAID" if ending == "COMPLETED" else ending), claim)


Lifecycle = Callable[[random.Random, int], Iterator[Sent]]
LIFECYCLES: tuple[Lifecycle, ...] = (ping, peach, truelayer, ipint)
