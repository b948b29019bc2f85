"""What a person should see of an order: amounts that do not fit its close, and late links."""

from schemas.money import in_words
from schemas.records import (
    Anomaly,
    OrderClose,
    OrderLink,
    OrderStatus,
    was_closed_elsewhere,
)
from streams.domain.anomaly import anomaly
from streams.domain.rules import utc_text


def anomalies_of_close(row: OrderStatus, close: OrderClose) -> list[Anomaly]:
    """Return the anomalies of the amounts in the close: unknown ones, and different currencies."""
    return _unknown_amounts(row, close) + _mixed_currencies(row, close)


def _unknown_amounts(row: OrderStatus, close: OrderClose) -> list[Anomaly]:
    unknown = [link["link_id"] for link in close["links"] if link["amount_minor"] is None]
    if not unknown:
        return []
    why = "neither the provider nor a registration tells it"
    if any(link["awaits_details"] for link in row["links"] if link["link_id"] in unknown):
        why = "it was asked for, and has not come in time"
    detail = f"order {row['order_id']} was closed without the amount of {', '.join(unknown)}: {why}"
    at = close["decided_at"]
    return [anomaly(row["provider"], unknown[0], "AMOUNT_UNKNOWN", detail, at, row["order_id"])]


def _mixed_currencies(row: OrderStatus, close: OrderClose) -> list[Anomaly]:
    links = close["links"]
    if len({link["currency"] for link in links if link["currency"]}) < 2:
        return []
    paid = ", ".join(f"{k['link_id']} {in_words(k['amount_minor'], k['currency'])}" for k in links)
    detail = f"the links of order {row['order_id']} are in different currencies: {paid}"
    first, at = links[0]["link_id"], close["decided_at"]
    return [anomaly(row["provider"], first, "AMOUNT_MISMATCH", detail, at, row["order_id"])]


def late_links(before: OrderStatus, after: OrderStatus, at: int) -> list[Anomaly]:
    """Return an anomaly for each link that appears, or is paid, after the close.

    A person decides what to do: there is no second close. Appearing and being paid are two facts,
    with one event id each, even if the link leaves the order and returns.
    """
    decided_at, elsewhere = before["decided_at"], was_closed_elsewhere(before)
    if (decided_at is None and not elsewhere) or after["links"] == before["links"]:
        return []
    known = {link["link_id"]: link for link in before["links"]}
    late: list[Anomaly] = []
    for link in after["links"]:
        if link["link_id"] in after["closed_link_ids"]:
            continue
        old, paid = known.get(link["link_id"]), link["status"] == "PAID"
        if decided_at is None and (link["closed_elsewhere"] or not paid):
            # It was in the order when that was closed, or nothing was lost.
            continue
        if old is None or (paid and old["status"] != "PAID"):
            fact = f"{after['order_id']} paid" if paid else after["order_id"]
            detail = _late_link_text(after, link)
            late.append(anomaly(after["provider"], link["link_id"], "LATE_LINK", detail, at, fact))
    return late


def _late_link_text(row: OrderStatus, link: OrderLink) -> str:
    text = f"order {row['order_id']} was closed "
    if row["decided_at"] is None:
        text += "elsewhere, before its links were imported; "
    else:
        text += f"at {utc_text(row['decided_at'])} with {', '.join(row['closed_link_ids'])}; "
    text += f"this link came later and is {link['status']}"
    if link["status"] == "PAID":
        text += f" with {in_words(link['amount_minor'], link['currency'])}"
    return text
