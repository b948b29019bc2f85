"""Money in integer minor units of an ISO 4217 currency, with exponents of the package `iso4217`."""

from decimal import Context, Decimal, Inexact, InvalidOperation

from iso4217 import Currency

# Raises where Python's default context would round an amount of 40 digits.
_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])


class BadAmount(ValueError):
    """The text is not an amount in that currency."""


def exponent(currency: str) -> int:
    """Return the number of minor-unit digits of `currency` (2 for EUR, 0 for JPY). Raises BadAmount
    for an unknown code.
    """
    try:
        digits = Currency(currency).exponent
    except ValueError as error:
        raise BadAmount(f"{currency!r} is not an ISO 4217 currency code") from error
    if digits is None:
        raise BadAmount(f"{currency} has no minor units")
    return digits


def minor_units(amount: str | Decimal, currency: str) -> int:
    """Return an amount in major units (a decimal, never a float) in minor units: `("12.34", "EUR")`
    is 1234. Raises BadAmount if it is not a finite decimal, is negative, or is finer than the
    currency's minor unit.
    """
    try:
        value = Decimal(amount)
    except InvalidOperation as error:
        raise BadAmount(f"{amount!r} is not a decimal number") from error
    if not value.is_finite() or value < 0 or value >= Decimal(10) ** 15:
        raise BadAmount(f"{amount!r} is not an amount between 0 and 10^15")
    digits = exponent(currency)
    try:
        scaled = value.scaleb(digits, _EXACT)
        return int(scaled.to_integral_exact(context=_EXACT))
    except Inexact as error:
        raise BadAmount(f"{amount} {currency} is finer than the currency's minor unit") from error


def major_units(minor: int, currency: str) -> Decimal:
    """Return minor units in major units, with the currency's digits: `(1234, "EUR")` is 12.34."""
    return Decimal(minor).scaleb(-exponent(currency))


def in_words(minor: int | None, currency: str | None) -> str:
    """Return text such as `1,698.81 SEK`; it is in minor units if the currency is unknown."""
    if minor is None:
        return "an unknown amount"
    try:
        return f"{major_units(minor, currency or ''):,f} {currency}"
    except BadAmount:
        return f"{minor:,} minor units{f' of {currency}' if currency else ''}"
