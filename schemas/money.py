"""Money as integer minor units of an ISO 4217 currency; exponents come from the package
`iso4217`.
"""

from decimal import Context, Decimal, Inexact, InvalidOperation

from iso4217 import Currency

# Raises where Python's default context would round: an amount of 40 digits must not become a near
# one.
_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])


class BadAmount(ValueError):
    """The text is no amount of that currency."""


def exponent(currency: str) -> int:
    """Number of minor-unit digits of `currency` (2 for EUR, 0 for JPY). Raises BadAmount if there
    is no such code.
    """
    try:
        digits = Currency(currency).exponent
    except ValueError as error:
        raise BadAmount(f"{currency!r} is no ISO 4217 currency code") from error
    if digits is None:
        raise BadAmount(f"{currency} has no minor units")
    return digits


def minor_units(amount: str | Decimal, currency: str) -> int:
    """Amount in major units (a decimal, never a float) to minor units: `("12.34", "EUR")` is 1234.

    Raises BadAmount when it is no finite decimal, is negative, or is finer than the currency
    allows."""
    try:
        value = Decimal(amount)
    except InvalidOperation as error:
        raise BadAmount(f"{amount!r} is no decimal number") from error
    if not value.is_finite() or value < 0 or value >= Decimal(10) ** 15:
        raise BadAmount(f"{amount!r} is no amount between 0 and 10^15")
    digits = exponent(currency)
    try:
        scaled = value.scaleb(digits, _EXACT)
        return int(scaled.to_integral_exact(context=_EXACT))
    except Inexact as error:
        raise BadAmount(f"{amount} {currency} is finer than the currency's minor unit") from error


def major_units(minor: int, currency: str) -> Decimal:
    """Minor units back to major units, with the currency's digits: `(1234, "EUR")` is 12.34."""
    return Decimal(minor).scaleb(-exponent(currency))


def in_words(minor: int | None, currency: str | None) -> str:
    """As people read it: `1,698.81 SEK`; in minor units where nobody knows how to divide them."""
    if minor is None:
        return "an unknown amount"
    try:
        return f"{major_units(minor, currency or ''):,f} {currency}"
    except BadAmount:
        return f"{minor:,} minor units{f' of {currency}' if currency else ''}"
