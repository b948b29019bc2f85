"""How an invoice of the simulated iPint starts and looks."""

from decimal import Decimal

from connectors.sandbox.simulator import SECOND, Doc

# PROCESSING means fewer than three confirmations, though the field counts to six.
CONFIRMED = 3
ALL_CONFIRMATIONS = 6
# Units of local currency in a dollar, dollars in a coin: any will do.
DOLLAR, COIN = Decimal(74), Decimal(600)


def new(invoice_id: str, amount: Decimal, currency: str, callback_url: str | None, now: int) -> Doc:
    """An invoice as it starts; `amount` in major units."""
    return {
        "id": invoice_id,
        "status": "CHECKING",
        "amount": str(amount),
        "currency": currency,
        "received": "1",
        "callback_url": callback_url,
        "created_at": now,
        "seen_at": None,
    }


def shown(invoice: Doc, now: int, confirmation: float) -> Doc:
    """The invoice as GET /invoice shows it; `confirmation` is how long one takes, in microseconds.

    All values are strings; `received_*` equal the invoice's while it is still being checked for.
    """
    seen_at, status = invoice["seen_at"], invoice["status"]
    grown = int((now - seen_at) / confirmation) if seen_at else 0
    # While PROCESSING there are less than three, afterwards three at least.
    bounds = (0, CONFIRMED - 1) if status == "PROCESSING" else (CONFIRMED, ALL_CONFIRMATIONS)
    confirmations = max(bounds[0], min(bounds[1], grown)) if seen_at else 0
    local = Decimal(invoice["amount"])
    data = {
        "invoice_id": invoice["id"],
        "transaction_status": status,
        "blockchain_transaction_status": "CONFIRMED" if status == "COMPLETED" else "PENDING",
        "blockchain_confirmations": f"{confirmations}/{ALL_CONFIRMATIONS}",
        "local_currency_code": invoice["currency"],
        "transaction_crypto": "BCH",
        "transaction_hash": invoice["id"].encode().hex() if seen_at else "",
        "transaction_time": str(seen_at // SECOND) if seen_at else "",
        "invoice_creation_time": str(invoice["created_at"] // SECOND),
    }
    received = local * Decimal(invoice["received"])
    data |= _measures("invoice", local) | _measures("received", received)
    return {"data": data, "user_data": {"company_name": "merchant", "website": "#"}}


def _measures(what: str, local: Decimal) -> dict[str, str]:
    dollars = local / DOLLAR
    return {
        f"{what}_amount_in_local_currency": f"{local:.2f}",
        f"{what}_amount_in_usd": f"{dollars:.2f}",
        f"{what}_crypto_amount": f"{dollars / COIN:.8f}",
    }
