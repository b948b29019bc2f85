"""The registration of a link: in JSON over HTTP, a row of a CSV file, or a record of `links`."""

import re
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from schemas import times
from schemas.ids import LONGEST_ID, is_identifier
from schemas.money import BadAmount, exponent, major_units, minor_units
from schemas.records import MOST_LINKS, LinkRegistered

T = TypeVar("T")
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


class BadLink(ValueError):
    """A field of the registration is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def _rfc3339(value: Any) -> Any:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 date and time with its offset from UTC")
    return value


def _form(pattern: str, words: str) -> BeforeValidator:
    """A validator that describes the pattern; the schema keeps the pattern itself."""
    compiled = re.compile(pattern)

    def check(value: Any) -> Any:
        if isinstance(value, str) and value and not compiled.fullmatch(value):
            raise ValueError(words)
        return value

    return BeforeValidator(check)


# The same ids that `ids.is_identifier` accepts from callbacks, or callbacks of a registered link
# would be refused: no control characters, and neither "." nor "..".
_NAME = r"^(\.{0,2}[^.\x00-\x1f\x7f][^\x00-\x1f\x7f]*|\.{3}[^\x00-\x1f\x7f]*)$"
_DECIMAL = r"^[0-9]+(\.[0-9]+)?$"
Identifier = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_ID, pattern=_NAME),
    _form(_NAME, "must have no control characters, and be neither . nor .."),
]
Amount = Annotated[
    str,
    Field(max_length=40, pattern=_DECIMAL),
    _form(_DECIMAL, "must be a decimal number without a sign, such as 12.50"),
]


class LinkForm(BaseModel):
    """The body of POST /links."""

    model_config = ConfigDict(extra="forbid", strict=True)

    provider: str
    link_id: Identifier
    order_id: Identifier | None = None
    amount: Amount | None = None
    currency: str | None = None
    expires_at: Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_rfc3339)] | None = (
        None
    )
    links_in_order: Annotated[int, Field(ge=1, le=MOST_LINKS)] | None = None


def _micros(time: datetime) -> int:
    # Seconds and microseconds apart: a float of both is not exact.
    return int(time.replace(microsecond=0).timestamp()) * 1_000_000 + time.microsecond


def _checked(field: str, check: Callable[..., T], *values: Any) -> T:
    """Return the result of `check`. Raises BadLink for the field that it refuses."""
    try:
        return check(*values)
    except (BadAmount, times.BadTime) as error:
        raise BadLink(field, str(error)) from error


def _amount_minor(form: LinkForm) -> int | None:
    if form.amount is None:
        return None
    if form.currency is None:
        raise BadLink("currency", "is needed with an amount")
    _checked("currency", exponent, form.currency)
    return _checked("amount", minor_units, form.amount, form.currency)


def registration(form: LinkForm, providers: Collection[str], now: int) -> LinkRegistered:
    """Return the record of a registration; `now` in microseconds. Raises BadLink."""
    link: LinkRegistered = {
        "provider": form.provider,
        "link_id": form.link_id,
        "order_id": form.order_id,
        "amount_minor": _amount_minor(form),
        "currency": form.currency,
        "expires_at": _micros(form.expires_at) if form.expires_at else None,
        "links_in_order": form.links_in_order,
        "registered_at": now,
    }
    _check(link, providers)
    return link


def check(link: LinkRegistered, providers: Collection[str]) -> None:
    """Check the record of another producer as POST /links checks a form. Raises BadLink."""
    _checked("registered_at", times.check, link["registered_at"])
    _check(link, providers)


def _check(link: LinkRegistered, providers: Collection[str]) -> None:
    if link["provider"] not in providers:
        raise BadLink("provider", f"must be one of {', '.join(sorted(providers))}")
    _check_identifier("link_id", link["link_id"])
    if link["order_id"] is not None:
        _check_identifier("order_id", link["order_id"])
    _check_money(link["currency"], link["amount_minor"])
    count = link["links_in_order"]
    if count is not None and not 1 <= count <= MOST_LINKS:
        raise BadLink("links_in_order", f"must be between 1 and {MOST_LINKS}")
    if link["expires_at"] is not None:
        _checked("expires_at", times.check, link["expires_at"])


def _check_identifier(field: str, identifier: str) -> None:
    if not is_identifier(identifier):
        raise BadLink(field, f"must be 1 to {LONGEST_ID} characters, none of control")


def _check_money(currency: str | None, amount: int | None) -> None:
    if currency is not None:
        _checked("currency", exponent, currency)
        _checked("amount_minor", minor_units, major_units(amount or 0, currency), currency)
    elif amount is not None:
        raise BadLink("currency", "is needed with an amount")
