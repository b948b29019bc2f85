"""Registrations: which one counts for a link, and which order counts the link."""

from schemas.records import LinkStatus, OrderFrom, Registration
from streams.domain.rules import ProviderRules


def add_registration(row: LinkStatus, new: Registration | None) -> None:
    """Keep the latest registration, as a whole. Of two with the same time the later arrival counts:
    a program may state one time in each.
    """
    known = row["registration"]
    if new is not None and (known is None or new["registered_at"] >= known["registered_at"]):
        row["registration"] = new


def derive_order(row: LinkStatus, rules: ProviderRules, before: LinkStatus) -> bool:
    """Set the order that counts the link. Return whether another one was named too late.

    The close of a paid link's order may already count the link: no other order may count it.
    """
    order_id, order_from = _order_of(row, rules)
    if before["status"] != "PAID" or row["order_from"] == "AWAITED":
        row["order_id"], row["order_from"] = order_id, order_from
        return False
    if order_id == row["order_id"]:
        row["order_from"] = order_from
    elif order_from == "LOOKUP":
        return True
    return _is_registered_elsewhere(row, before)


def _is_registered_elsewhere(row: LinkStatus, before: LinkStatus) -> bool:
    """Whether a registration has just named another order than the one that counts the link."""
    known, new = registered_order(before), registered_order(row)
    return new not in (None, known, row["order_id"])


def registered_order(row: LinkStatus) -> str | None:
    """Return the order that the link is registered for."""
    return row["registration"] and row["registration"]["order_id"]


def _order_of(row: LinkStatus, rules: ProviderRules) -> tuple[str, OrderFrom]:
    registration = row["registration"]
    if rules.order_from == "lookup":
        if row["provider_order_id"] is not None:
            return row["provider_order_id"], "LOOKUP"
        if row["looked_up_at"] is None:
            return row["link_id"], "AWAITED"
    if rules.order_from == "registration" and registration is None:
        return row["link_id"], "AWAITED"
    if registration is not None and registration["order_id"] is not None:
        return registration["order_id"], "REGISTRATION"
    return row["link_id"], "SELF"


def links_in_order(row: LinkStatus) -> int | None:
    """Return how many links the registration announces, if it is about the link's order."""
    registration = row["registration"]
    if registration is None or registration["order_id"] not in (None, row["order_id"]):
        return None
    return registration["links_in_order"]
