"""Payment links of the simulated Peach: their documents, the query, and their Checkout webhooks.

Every link uses a Checkout. Its webhooks accompany those of the link: form-encoded, with dotted
names, and signed in the body.
"""

import hmac
from decimal import Decimal
from urllib.parse import parse_qs, urlencode
from uuid import uuid4
from zlib import crc32

from connectors.providers.base import ApiResponse
from connectors.providers.peach.links import BRANDS
from connectors.providers.simulator import (
    DAY,
    SECOND,
    Callback,
    Doc,
    json_response,
    micros,
    rfc3339,
)
from schemas.money import major_units, minor_units

# Step of a link -> result of its Checkout. Only the Checkout reports those from "uncertain" on: the
# link can still be paid after "uncertain" and "abandoned", and a refund succeeds like a sale. At
# "authorised" the link reports that it is completed, as if it were paid.
RESULTS = {
    "processing": ("000.200.000", "transaction pending", "DB"),
    "completed": ("000.100.110", "Request successfully processed", "DB"),
    "authorised": ("000.100.110", "Request successfully processed", "PA"),
    "uncertain": ("100.396.104", "Uncertain status - probably cancelled by user", "DB"),
    "abandoned": ("100.396.101", "Cancelled by user", "DB"),
    "refunded": ("000.100.110", "Request successfully processed", "RF"),
    "refunded_in_part": ("000.100.110", "Request successfully processed", "RF"),
    "refund_rejected": ("800.100.152", "transaction declined by authorization system", "RF"),
    "charged_back": ("000.100.110", "Request successfully processed", "CB"),
    "captured": ("000.100.110", "Request successfully processed", "CP"),
}
CHECKOUT_ONLY = tuple(RESULTS)[3:]
# Payment type -> the transaction of the link that it refers to.
_REFERS_TO = {"RF": "transactionId", "CB": "transactionId", "CP": "authorisationId"}

_PERIOD = (("startDate", 0), ("endDate", 1 << 62))
_MOST_LISTED = 100

CARDS = frozenset({"VISA", "MASTERCARD", "DINERS CLUB", "AMERICAN EXPRESS"})
# The Checkout spells two brands differently.
CHECKOUT_BRANDS = {"MASTERCARD": "MASTER", "DINERS CLUB": "DINERS"}


def new(link_id: str, amount: str, currency: str, now: int) -> Doc:
    """Return a new link. `amount` is in major units."""
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
        "authorisationId": None,
        "paymentType": "DB",
        "registrationId": None,
        "paymentBrand": BRANDS[crc32(link_id.encode()) % len(BRANDS)],
        "createdAt": rfc3339(now),
        "updatedAt": rfc3339(now),
        "expiryTime": rfc3339(now + 30 * DAY * SECOND),
        "audit": [],
    }


def requested(link_id: str, body: Doc, now: int) -> Doc:
    payment, options = body["payment"], body.get("options") or {}
    minutes = int(options.get("expiryTime", 30 * 24 * 60))
    link = new(link_id, str(payment["amount"]), payment["currency"], now) | {
        "merchantInvoiceId": payment.get("merchantInvoiceId"),
        "notificationUrl": options.get("notificationUrl"),
        "expiryTime": rfc3339(now + minutes * 60 * SECOND),
    }
    if (body.get("checkout") or {}).get("tokeniseCard") is True and link["paymentBrand"] in CARDS:
        link["registrationId"] = uuid4().hex
    return link


def with_status(link: Doc, status: str, now: int) -> Doc:
    change = {"oldStatus": link["status"], "newStatus": status, "timestamp": rfc3339(now)}
    return link | {"status": status, "updatedAt": rfc3339(now), "audit": [*link["audit"], change]}


def authorised(link: Doc) -> Doc:
    """Return the link with a payment that only reserves its money."""
    return link | {"paymentType": "PA"}


def captured(link: Doc) -> Doc:
    """Return the link with its money taken, in a transaction of its own."""
    transactions = {"transactionId": uuid4().hex, "authorisationId": link["transactionId"]}
    return link | transactions | {"paymentType": "CP"}


def checkout_webhook(link: Doc, step: str, secret: str, now: int) -> Callback:
    """Return the webhook of the Checkout for a step of its link, one of RESULTS."""
    code, description, payment_type = RESULTS[step]
    goes_back = payment_type in ("RF", "CB")
    params = {
        "amount": _half(link) if step == "refunded_in_part" else link["amount"],
        "checkoutId": link["checkoutId"],
        "currency": link["currency"],
        "id": uuid4().hex if goes_back else link["transactionId"],
        "merchantInvoiceId": link["merchantInvoiceId"] or "",
        "merchantTransactionId": link["merchantInvoiceId"] or link["transactionId"],
        "paymentBrand": _checkout_brand(link),
        "paymentType": payment_type,
        "result.code": code,
        "result.description": description,
        "timestamp": rfc3339(now),
    }
    if payment_type in _REFERS_TO:
        params["referencedId"] = link[_REFERS_TO[payment_type]]
    params["signature"] = signature(params, secret)
    form = "application/x-www-form-urlencoded"
    return Callback(urlencode(params).encode(), form, link["notificationUrl"])


def _half(link: Doc) -> str:
    minor = minor_units(link["amount"], link["currency"]) // 2
    return str(major_units(minor, link["currency"]))


def signature(params: dict[str, str], secret: str) -> str:
    """Return the HMAC-SHA256 over the names and values, concatenated in the order of the names."""
    message = "".join(name + params[name] for name in sorted(params))
    return hmac.new(secret.encode(), message.encode(), "sha256").hexdigest()


def shown(link: Doc) -> Doc:
    """Return the answer of the query. It never shows `opened`, nor an unused Checkout."""
    terms = {name: link[name] for name in ("currency", "merchantInvoiceId", "expiryTime")} | {
        "amount": Decimal(link["amount"]),
        "status": "initiated" if link["status"] == "opened" else link["status"],
    }
    payment = {name: link[name] for name in ("id", "createdAt", "updatedAt")} | {
        "payment": terms,
        "source": "API",
        "options": {"notificationUrl": link["notificationUrl"]},
        "checkout": _shown_checkout(link),
    }
    return {"payment": payment, "audit": link["audit"]}


def listed(all_links: list[Doc], query: str) -> ApiResponse:
    """Return a page of the links that were created in a period, without their audit. Its parameters
    are a guess: Peach's own are not documented where we could read.
    """
    parameters = {name: values[0] for name, values in parse_qs(query).items()}
    try:
        start, end = (micros(parameters[n]) if n in parameters else d for n, d in _PERIOD)
        limit, offset = (int(parameters.get(name, d)) for name, d in (("limit", 20), ("offset", 0)))
    except ValueError:
        return json_response(400, {"message": "Invalid parameters"})
    found = [link for link in all_links if start <= micros(link["createdAt"]) < end]
    page = [shown(link)["payment"] for link in found[offset : offset + min(limit, _MOST_LISTED)]]
    return json_response(200, {"payments": page, "total": len(found)})


def _shown_checkout(link: Doc) -> Doc:
    if not any(change["newStatus"] in RESULTS for change in link["audit"]):
        return {"defaultPaymentMethod": "CARD", "tokeniseCard": False}
    paid = link["status"] == "completed"
    checkout = {
        "checkoutId": link["checkoutId"],
        "transactionUniqueId": link["transactionId"],
        "paymentType": link["paymentType"],
        "resultCode": RESULTS["completed" if paid else "processing"][0],
        "paymentBrand": _checkout_brand(link),
    }
    return checkout | (_registration(link) if paid else {})


def payment_fields(link: Doc) -> Doc:
    return {"paymentBrand": link["paymentBrand"]} | _registration(link)


def _registration(link: Doc) -> Doc:
    """Return the token of the card, if the merchant requested one and the payer used a card."""
    return {"registrationId": link["registrationId"]} if link["registrationId"] else {}


def _checkout_brand(link: Doc) -> str:
    brand: str = link["paymentBrand"]
    return CHECKOUT_BRANDS.get(brand, brand)
