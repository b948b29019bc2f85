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

# What happens to a link -> what its Checkout says of it. The last three only the Checkout tells:
# after "uncertain" and "abandoned" the link may still be paid; a refund succeeds as a sale does.
RESULTS = {
    "processing": ("000.200.000", "transaction pending", "DB"),
    "completed": ("000.100.110", "Request successfully processed", "DB"),
    "uncertain": ("100.396.104", "Uncertain status - probably cancelled by user", "DB"),
    "abandoned": ("100.396.101", "Cancelled by user", "DB"),
    "refunded": ("000.100.110", "Request successfully processed", "RF"),
}
ONLY_CHECKOUT = ("uncertain", "abandoned", "refunded")

# As webhooks of links spell them; the Checkout has other words for two of them.
BRANDS = (
    *("VISA", "MASTERCARD", "DINERS CLUB", "AMERICAN EXPRESS", "MASTERPASS", "MOBICRED", "MPESA"),
    *("1FORYOU", "APLUS", "PAYPAL", "ZEROPAY", "PAYFLEX", "BLINKBYEMTEL", "CAPITECPAY"),
    *("MCBJUICE", "PEACHEFT"),
)
CARDS = frozenset(BRANDS[:4])
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
        "transactionId": uuid4().hex,
        "registrationId": None,
        "paymentBrand": BRANDS[crc32(link_id.encode()) % len(BRANDS)],
        "createdAt": rfc3339(now),
        "updatedAt": rfc3339(now),
        "expiryTime": rfc3339(now + 30 * DAY * SECOND),
        "audit": [],
    }


def checkout_webhook(link: Doc, word: str, secret: str, now: int) -> Callback:
    """What the Checkout says when its link becomes `word`, one of RESULTS."""
    code, description, kind = RESULTS[word]
    params = {
        "amount": link["amount"],
        "checkoutId": link["checkoutId"],
        "currency": link["currency"],
        "id": uuid4().hex if kind == "RF" else link["transactionId"],
        "merchantInvoiceId": link["merchantInvoiceId"] or "",
        "merchantTransactionId": link["merchantInvoiceId"] or link["transactionId"],
        "paymentBrand": _checkout_brand(link),
        "paymentType": kind,
        "result.code": code,
        "result.description": description,
        "timestamp": rfc3339(now),
    }
    params["signature"] = signature(params, secret)
    form = "application/x-www-form-urlencoded"
    return Callback(urlencode(params).encode(), form, link["notificationUrl"])


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
    paid = link["status"] == "completed"
    known = {
        "checkoutId": link["checkoutId"],
        "transactionUniqueId": link["transactionId"],
        "resultCode": RESULTS["completed" if paid else "processing"][0],
        "paymentBrand": _checkout_brand(link),
    }
    return known | (_registration(link) if paid else {})


def paid_with(link: Doc) -> Doc:
    """What the webhook of a paid link adds."""
    return {"paymentBrand": link["paymentBrand"]} | _registration(link)


def _registration(link: Doc) -> Doc:
    """The card's token, where the merchant asked for one and it was a card."""
    return {"registrationId": link["registrationId"]} if link["registrationId"] else {}


def tokenised(link: Doc) -> Doc:
    """The link, with a token for the card it will be paid with."""
    return link | {"registrationId": uuid4().hex if link["paymentBrand"] in CARDS else None}


def _checkout_brand(link: Doc) -> str:
    brand: str = link["paymentBrand"]
    return CHECKOUT_BRANDS.get(brand, brand)
