"""Amounts of payout lines, as JSON and as spreadsheets write them. Pure."""

from decimal import Decimal
from typing import Any, NamedTuple

from schemas.money import BadAmount, exponent, minor_units
from schemas.payouts import PayoutKind

_SPACES = dict.fromkeys(map(ord, " \t\u00a0\u202f'\u2019"))


class PayoutAmounts(NamedTuple):
    """Amounts in minor units, signed as the merchant sees them."""

    gross: int
    fee: int
    net: int


def minor(value: Any, currency: str) -> int:
    """Return an amount of major units in minor units, with its sign: a number of JSON, or a text
    such as `1 234,50`, `1,234.50`, `-12.00` or `(12.00)`. Raises BadAmount.
    """
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        number = Decimal(value)
    else:
        number = _number(str(value), currency)
    sign = -1 if number < 0 else 1
    return sign * minor_units(abs(number), currency)


def _number(text: str, currency: str) -> Decimal:
    bare = text.upper().replace(currency, "").translate(_SPACES)
    negative = bare.startswith("(") and bare.endswith(")")
    bare = bare[1:-1] if negative else bare
    digits = bare[1:] if bare[:1] in ("+", "-") else bare
    if not digits or not set(digits) <= set("0123456789.,"):
        raise BadAmount(f"{text!r} is not an amount")
    try:
        number = Decimal(_with_point(digits, text, currency))
    except ArithmeticError:
        raise BadAmount(f"{text!r} is not an amount") from None
    return -number if negative or bare.startswith("-") else number


def _with_point(digits: str, text: str, currency: str) -> str:
    """Return the digits with a decimal point and without separators of thousands."""
    last = max(digits.rfind("."), digits.rfind(","))
    if last < 0:
        return digits
    decimal = digits[last]
    other = "," if decimal == "." else "."
    whole, fraction = digits[:last], digits[last + 1 :]
    if decimal in whole:
        # Several of one kind separate thousands.
        return _without_separators(digits, decimal, text)
    # A currency with three decimals is written with all of them.
    if len(fraction) == 3 and other not in whole and exponent(currency) != 3:
        if exponent(currency) == 0:
            return _without_separators(digits, decimal, text)
        raise BadAmount(f"{text!r} can be read in two ways: write it with its decimals")
    return _without_separators(whole, other, text) + "." + fraction


def _without_separators(digits: str, separator: str, text: str) -> str:
    """Return the digits of groups such as `1,234,567` or, in India, `12,34,567`: a date is none."""
    first, *others = digits.split(separator)
    if others and not (
        1 <= len(first) <= 3
        and all(2 <= len(group) <= 3 for group in others)
        and len(others[-1]) == 3
        and (first + "".join(others)).isdecimal()
    ):
        raise BadAmount(f"{text!r} is not an amount")
    return first + "".join(others)


def complete(
    kind: PayoutKind, gross: int | None, fee: int | None, net: int | None
) -> PayoutAmounts | None:
    """Return the amounts of a line of this kind from those that the provider states, with our
    signs; None if it states none. A fee is never negative, unless the three amounts say so.
    """
    if gross is None and fee is None and net is None:
        return None
    if kind == "FEE":
        amount = next((abs(value) for value in (fee, gross, net) if value), 0)
        return PayoutAmounts(0, amount, -amount)
    if kind in ("REFUND", "TRANSFER"):
        gross, net = (None if value is None else -abs(value) for value in (gross, net))
    if gross is not None and net is not None:
        return PayoutAmounts(gross, _fee(gross, fee, net), net)
    charged = abs(fee or 0)
    if gross is not None:
        return PayoutAmounts(gross, charged, gross - charged)
    known = net or 0
    return PayoutAmounts(known + charged, charged, known)


def _fee(gross: int, fee: int | None, net: int) -> int:
    if fee is None or abs(gross - net) == abs(fee):
        return gross - net
    return abs(fee)
