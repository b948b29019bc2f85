"""A payment link of the simulated Peach: how it starts, what a query shows, what its Checkout says.

Every link uses a Checkout, whose webhooks come along with those of the link: form-encoded, with
dotted names, and signed in the body.
"""

import hmac
from decimal import Decimal
from urllib.parse import urlencode
from uuid import uuid4
from zlib import crc32

from connectors.sandbox.simulator import DAY, SECOND, Callback, Doc, rfc3339

RESULTS = {
    "processing": ("000.200.000", "transaction pending"),
    "completed": ("000.100.110", "Request successfully processed"),
}

# As webhooks of links spell them; the Checkout has other words for two of them.
BRANDS = (
    *("VISA", "MASTERCARD", "DINERS CLUB", "AMERICAN EXPRESS", "MASTERPASS", "MOBICRED", "MPESA"),
    *("1FORYOU", "APLUS", "PAYPAL", "ZEROPAY", "PAYFLEX", "BLINKBYEMTEL", "CAPITECPAY"),
    *("MCBJUICE", "PEACHEFT"),
)
CHECKOUT_BRANDS = {"MASTERCARD": "MASTER", "DINERS CLUB": "DINERS"}


def new(link_id: str, amount: str, currency: str, now: int) -> Doc:
    """A link as it starts; `amount` in major units."""
    return {
        "id": link_id,
        "url": f"https://l.ppay.io/{link_id[-16:]}",
        "status": "initiated",
        "amount": amount,
        "currency": currency,
        "merchantInvoiceId": f"INV-{link_id[:8]}",
        "notificationUrl": None,
        "checkoutId": uuid4().hex,
        "paymentBrand": BRANDS[crc32(link_id.encode()) % len(BRANDS)],
        "createdAt": rfc3339(now),
        "updatedAt": rfc3339(now),
        "expiryTime": rfc3339(now + 30 * DAY * SECOND),
        "audit": [],
    }


def checkout_webhook(link: Doc, word: str, secret: str, now: int) -> Callback:
    """What the Checkout says when its link becomes `word`, one of RESULTS."""
    code, description = RESULTS[word]
    params = {
        "amount": link["amount"],
        "checkoutId": link["checkoutId"],
        "currency": link["currency"],
        "id": uuid4().hex,
        "merchantInvoiceId": link["merchantInvoiceId"],
        "merchantTransactionId": link["merchantInvoiceId"],
        "paymentBrand": _checkout_brand(link),
        "paymentType": "DB",
        "result.code": code,
        "result.description": description,
        "timestamp": rfc3339(now),
    }
    params["signature"] = signature(params, secret)
    kind = "application/x-www-form-urlencoded"
    return Callback(urlencode(params).encode(), kind, link["notificationUrl"])


def signature(params: dict[str, str], secret: str) -> str:
    """HMAC-SHA256 over the parameters sorted by name, names and values concatenated."""
    message = "".join(name + params[name] for name in sorted(params))
    return hmac.new(secret.encode(), message.encode(), "sha256").hexdigest()


def shown(link: Doc) -> Doc:
    """The link as a query shows it: never `opened`; its Checkout is known once it was used."""
    payment = {name: link[name] for name in ("currency", "merchantInvoiceId", "expiryTime")} | {
        "amount": Decimal(link["amount"]),
        "status": "initiated" if link["status"] == "opened" else link["status"],
    }
    body = {name: link[name] for name in ("id", "createdAt", "updatedAt")} | {
        "payment": payment,
        "source": "API",
        "options": {"notificationUrl": link["notificationUrl"]},
        "checkout": _shown_checkout(link),
    }
    return {"payment": body, "audit": link["audit"]}


def _shown_checkout(link: Doc) -> Doc:
    if not any(step["newStatus"] in RESULTS for step in link["audit"]):
        return {"defaultPaymentMethod": "CARD", "tokeniseCard": False}
    code = RESULTS["completed" if link["status"] == "completed" else "processing"][0]
    brand = _checkout_brand(link)
    return {"checkoutId": link["checkoutId"], "resultCode": code, "paymentBrand": brand}


def _checkout_brand(link: Doc) -> str:
    brand: str = link["paymentBrand"]
    return CHECKOUT_BRANDS.get(brand, brand)
