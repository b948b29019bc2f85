"""The merchant account of the simulated TrueLayer: the payments that arrived, page by page."""

from collections.abc import Sequence
from urllib.parse import parse_qs

from connectors.providers.base import ApiResponse
from connectors.providers.payout_sandbox import items
from connectors.providers.simulator import SECOND, Doc, State, json_response, micros, rfc3339

ACCOUNT = "a61acaef-ee05-4077-92f3-25543a11bd8d"
PAGE = 50


def respond(state: State, path: Sequence[str], query: str, currency: str) -> ApiResponse:
    """Answer /v3/merchant-accounts and what is below it."""
    match [*path]:
        case []:
            account = {"id": ACCOUNT, "currency": currency, "account_holder_name": "a merchant"}
            return json_response(200, {"items": [account]})
        case [account_id, "transactions"] if account_id == ACCOUNT:
            return _transactions(state, query)
    return json_response(404, {"type": "about:blank", "title": "Not found", "status": 404})


def _transactions(state: State, query: str) -> ApiResponse:
    parameters = {name: values[0] for name, values in parse_qs(query).items()}
    try:
        start, end = micros(parameters["from"]), micros(parameters["to"])
        first = int(parameters.get("cursor", 0))
    except (KeyError, ValueError):
        return json_response(400, {"title": "Invalid parameters", "status": 400})
    # `to` is inclusive, to the second.
    found = [_transaction(payout, item) for payout, item in items(state, start, end + SECOND)]
    more = {"next_cursor": str(first + PAGE)} if len(found) > first + PAGE else {}
    return json_response(200, {"items": found[first : first + PAGE], "pagination": more})


def _transaction(payout: Doc, item: Doc) -> Doc:
    """Return a transaction. One without a payment of ours is a bank transfer."""
    transaction = {
        "id": f"tx-{item['payment_id']}",
        "currency": item["currency"],
        "amount_in_minor": item["amount"],
        "status": "settled",
        "settled_at": rfc3339(payout["at"]),
    }
    if item["link_id"] is None:
        return {"type": "external_payment", "remitter": {}} | transaction
    return {"type": "merchant_account_payment", "payment_id": item["payment_id"]} | transaction
