"""What a link was paid: as far as it is known, and whether more can still come."""

from collections.abc import Sequence

from schemas.records import ClosedLink, LinkStatus, OrderLink
from streams.domain.rules import ProviderRules


def amount_of(row: LinkStatus) -> tuple[int | None, str | None]:
    """Return amount and currency as the provider tells them, else as registered; None for both if
    one is missing. Where the payment took only a part, the part counts.
    """
    amount, currency = row["amount_minor"], row["currency"]
    if amount is not None and row["received_minor"] is not None:
        amount = min(amount, row["received_minor"])
    if (registration := row["registration"]) is not None:
        if amount is None:
            amount, currency = registration["amount_minor"], registration["currency"]
        elif currency is None:
            currency = registration["currency"]
    return (None, None) if amount is None or currency is None else (amount, currency)


def awaits_details(row: LinkStatus, rules: ProviderRules) -> bool:
    """Whether the link is paid, and a lookup has yet to confirm it and to tell its amount.

    A denial ends no wait: the provider's API may be later than its callback.
    """
    is_told = row["amount_minor"] is not None and row["currency"] is not None
    can_be_told = rules.can_look_up and row["judged"].get("PAID") is not True
    return row["status"] == "PAID" and not is_told and can_be_told


def total_of(links: Sequence[OrderLink] | Sequence[ClosedLink]) -> tuple[int | None, str | None]:
    """Return sum and currency, or None for both if an amount is missing or currencies differ."""
    currencies = {link["currency"] for link in links}
    amounts = [link["amount_minor"] for link in links if link["amount_minor"] is not None]
    if len(currencies) != 1 or len(amounts) != len(links):
        return None, None
    return sum(amounts), currencies.pop()
