"""Payouts of the simulated providers: what each has paid out, with its fees and its mistakes."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import uuid4

from connectors.providers.simulator import Doc, Simulator, State, rfc3339
from schemas.money import major_units

# Of the amount, in percent.
FEE_PERCENT = 2
COLUMNS = (
    *("payout_id", "settled_at", "kind", "payment_id", "order_id", "link_id"),
    *("currency", "gross", "fee", "net"),
)


class Share(NamedTuple):
    """A part of a payout: a paid link, and by how much its amount is wrong (minor units)."""

    link_id: str
    error_minor: int = 0


def pay_out(simulator: Simulator, shares: Sequence[Share], now: int) -> str:
    """Pay out the links, and one payment that is not of this merchant. Return the payout's id.

    Raises KeyError if there is no such link.
    """
    items = [_item(simulator, share) for share in shares]
    stranger = f"stranger-{uuid4()}"
    amounts = {"currency": simulator.CURRENCY, "amount": 100, "fee": 2}
    items.append({"payment_id": stranger, "order_id": None, "link_id": None} | amounts)
    payout_id = f"payout-{uuid4()}"
    doc = {"id": payout_id, "at": now, "items": items}
    simulator.state.put("payout", payout_id, doc)
    return payout_id


def _item(simulator: Simulator, share: Share) -> Doc:
    link = simulator.state.get("link", share.link_id)
    if link is None:
        raise KeyError(share.link_id)
    payment = simulator.payment_of(link)
    amount = payment.amount_minor + share.error_minor
    return {
        "payment_id": payment.payment_id,
        "order_id": payment.order_id,
        "link_id": share.link_id,
        "currency": payment.currency,
        "amount": amount,
        "fee": amount * FEE_PERCENT // 100,
    }


def payouts(state: State, start: int, end: int) -> list[Doc]:
    """Return the payouts of a period, oldest first. `end` is exclusive."""
    return [payout for payout in state.all("payout") if start <= payout["at"] < end]


def items(state: State, start: int, end: int) -> Iterator[tuple[Doc, Doc]]:
    """Yield each item of a period with its payout."""
    for payout in payouts(state, start, end):
        for item in payout["items"]:
            yield payout, item


def as_csv(state: State) -> str:
    """Return all payouts as a file, as a provider without such an API might export it."""
    file = io.StringIO(newline="")
    rows = csv.writer(file)
    rows.writerow(COLUMNS)
    for payout, item in items(state, 0, 1 << 62):
        amounts = (item["amount"], item["fee"], item["amount"] - item["fee"])
        currency = item["currency"]
        rows.writerow(
            (
                *(payout["id"], rfc3339(payout["at"]), "payment"),
                *(item["payment_id"], item["order_id"], item["link_id"], currency),
                *(major_units(amount, currency) for amount in amounts),
            )
        )
    return file.getvalue()
