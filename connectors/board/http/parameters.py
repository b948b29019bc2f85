"""The parameters of the board's lists, for programs and pages alike."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from sqlalchemy import Table

from connectors.board.database import tables as t
from connectors.board.database.counted import Counts
from connectors.board.database.figures import LinkMeasure, Measure, OrderMeasure, day_of
from connectors.board.database.paging import Cursor
from connectors.board.http.cursor import parse_cursor
from connectors.board.http.refusal import BadInput
from connectors.clock import micros_now
from connectors.reasons import field_reason
from connectors.triage.dead_letter import parse_place
from connectors.triage.filter import Filter, parse_filter, parse_time
from schemas.limits import MONEY_DAYS
from schemas.records import AnomalyKind, OrderState, Status
from schemas.times import DAY

STATUSES: tuple[str, ...] = get_args(Status)
STATES: tuple[str, ...] = get_args(OrderState)
KINDS: tuple[str, ...] = get_args(AnomalyKind)
# `any` but the payer.
WaitsFor = Literal["any", "person", "provider", "service"]
PARTIES: tuple[str, ...] = get_args(WaitsFor)
LINK_MEASURES: tuple[str, ...] = get_args(LinkMeasure)
ORDER_MEASURES: tuple[str, ...] = get_args(OrderMeasure)
Show = Literal["open", "resolved", "all"]
SHOWN: tuple[str, ...] = get_args(Show)
_LONGEST_REASON = 200
_MONTH = 29 * DAY

M = TypeVar("M", bound=BaseModel)


def _valid(parse: Callable[[str], object]) -> AfterValidator:
    """A validator that keeps the text if `parse` takes it."""

    def check(text: str) -> str:
        try:
            parse(text)
        except ValueError as error:
            raise PydanticCustomError("value", "{message}", {"message": str(error)}) from None
        return text

    return AfterValidator(check)


def cut(longest: int) -> AfterValidator:
    """A validator that cuts the text to so many characters."""
    return AfterValidator(lambda text: text[:longest])


_Time = Annotated[
    str,
    _valid(lambda text: parse_time(text, micros_now())),
    Field(description="An age such as 2h or 3d, a UTC day, or a time in RFC 3339."),
]
_Start = Annotated[str, StringConstraints(strip_whitespace=True)]
PlaceText = Annotated[str, _valid(parse_place), Field(description="partition/offset")]
_Provider = Annotated[str, Field(description="The name of a provider.")]


class Parameters(BaseModel):
    """A misspelt parameter is an error, because ignoring it would select everything. An empty one
    is an empty field of a form, and selects nothing.
    """

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {name: value for name, value in values.items() if value != ""}

    def chosen(self, *names: str) -> dict[str, str]:
        """The parameters of the request, or only those with these names."""
        texts: dict[str, str] = self.model_dump(
            exclude_none=True, exclude_unset=True, include=set(names) or None
        )
        return texts


def parse(model: type[M], values: Mapping[str, str]) -> M:
    """Read the parameters of a page. Raises BadInput."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"])) or "parameters"
        raise BadInput(f"{name}: {field_reason(first)}") from None


class Period(Parameters):
    """From a time on, before a time."""

    since: _Time | None = None
    until: _Time | None = None

    @field_validator("until")
    @classmethod
    def _check_until(cls, until: str | None, info: ValidationInfo) -> str | None:
        since, now = info.data.get("since"), micros_now()
        if until and since and parse_time(until, now) <= parse_time(since, now):
            raise PydanticCustomError("value", "is not after since")
        return until

    def times(self) -> dict[str, int]:
        """The times in microseconds, UTC, by name."""
        texts, now = {"since": self.since, "until": self.until}, micros_now()
        return {name: parse_time(text, now) for name, text in texts.items() if text}


class Page(Parameters):
    """A page of a list, the newest rows first."""

    table: ClassVar[Table]
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str | None, Field(description="`next` of an earlier answer.")] = None

    @field_validator("cursor")
    @classmethod
    def _check_cursor(cls, cursor: str | None) -> str | None:
        if cursor:
            parse_cursor(cursor, cls.table)
        return cursor

    def after(self) -> Cursor | None:
        """The position that the page follows."""
        return parse_cursor(self.cursor, self.table) if self.cursor else None


class _Counted(Period):
    """Rows that count in the money. With `counts_as`, the times are those at which they count."""

    counts_as: Measure | None = None
    currency: Annotated[
        str | None,
        Field(description="ISO 4217 alphabetic code, XXX for an unknown one; with `counts_as`."),
    ] = None

    @model_validator(mode="after")
    def _check_currency(self) -> "_Counted":
        if self.currency and not self.counts_as:
            message = {"message": "currency: needs counts_as, too"}
            raise PydanticCustomError("value", "{message}", message)
        return self

    def counts(self) -> Counts | None:
        """What the rows count as in the money, if that is chosen."""
        return Counts(self.counts_as, self.currency) if self.counts_as else None


class LinkFilter(_Counted):
    """Links; the times are those of the last change."""

    counts_as: Annotated[
        LinkMeasure | None,
        Field(description="Only the links behind this figure of the money, and by its times."),
    ] = None
    q: Annotated[_Start, Field(description="The start of a link, order or payment id.")] = ""
    provider: _Provider | None = None
    status: Status | None = None
    order_id: str | None = None

    def filter(self) -> dict[str, Any]:
        """The filters of `database.links`."""
        return {**self.chosen("provider", "status", "order_id"), **self.times()}


class LinkPage(LinkFilter, Page):
    table: ClassVar = t.link_status


class OrderFilter(_Counted):
    """Orders; the times are those of the last change."""

    counts_as: Annotated[
        OrderMeasure | None,
        Field(description="Only the orders behind this figure of the money, and by its times."),
    ] = None
    q: Annotated[_Start, Field(description="The start of an order id.")] = ""
    provider: _Provider | None = None
    state: OrderState | None = None
    waits_for: Annotated[
        WaitsFor | None,
        Field(description="Only orders that wait for this party; the oldest wait comes first."),
    ] = None

    @field_validator("waits_for")
    @classmethod
    def _check_waits_for(cls, party: str | None, info: ValidationInfo) -> str | None:
        if party and info.data.get("counts_as"):
            raise PydanticCustomError("value", "choose it, or counts_as")
        return party

    def filter(self) -> dict[str, Any]:
        """The filters of `database.orders`."""
        return {**self.chosen("provider", "state"), **self.times()}


class OrderPage(OrderFilter, Page):
    table: ClassVar = t.orders


class NoticeFilter(Period):
    """Notices; the times are those of their arrival."""

    provider: _Provider | None = None

    def filter(self) -> dict[str, Any]:
        """The filters of `database.notices`."""
        return {**self.chosen("provider"), **self.times()}


class NoticePage(NoticeFilter, Page):
    table: ClassVar = t.notices


class ReconciliationFilter(Period):
    """Reconciled days; a time stands for its UTC day."""

    provider: _Provider | None = None

    def filter(self) -> dict[str, Any]:
        """The filters of `database.reconciliations`."""
        days = {name: day_of(at) for name, at in self.times().items()}
        return {**self.chosen("provider"), **days}


class ReconciliationPage(ReconciliationFilter, Page):
    table: ClassVar = t.reconciliations


class AnomalyFilter(Period):
    """Open anomalies."""

    event_id: str | None = None
    provider: _Provider | None = None
    kind: AnomalyKind | None = None
    link: Annotated[str | None, Field(description="A link id.")] = None

    def filter(self) -> dict[str, Any]:
        """The filters of `database.anomalies`."""
        columns = self.chosen("event_id", "provider", "kind", "link")
        if "link" in columns:
            columns["link_id"] = columns.pop("link")
        return {**columns, **self.times()}


class AnomalyList(AnomalyFilter):
    """Anomalies, open ones or resolved ones, or all."""

    show: Show = "all"


class AnomalyPage(AnomalyList, Page):
    table: ClassVar = t.anomalies


class DeadLetterFilter(Period):
    """Dead letters; by default the open ones."""

    provider: _Provider | None = None
    link: Annotated[str | None, Field(description="A link id; needs its provider.")] = None
    reason: Annotated[str, cut(_LONGEST_REASON), Field(description="A part of the reason.")] = ""
    stage: str | None = None
    place: PlaceText | None = None

    @field_validator("link")
    @classmethod
    def _needs_provider(cls, link: str | None, info: ValidationInfo) -> str | None:
        if link and not info.data.get("provider"):
            raise PydanticCustomError("value", "needs the provider, too")
        return link

    def filter(self) -> Filter:
        """The filter of dead letters."""
        return parse_filter(self.chosen(), [self.place] if self.place else [], micros_now())


class DeadLetterList(DeadLetterFilter):
    """Dead letters, open ones or resolved ones, or all."""

    show: Show = "all"


class DeadLetterPage(DeadLetterList, Page):
    table: ClassVar = t.dead_letters
    # Dead letters carry bodies of up to 64 KiB.
    limit: Annotated[int, Field(ge=1, le=100)] = 50


class MoneyFilter(Period):
    """The money of some UTC days: those of the last month, unless `since` says otherwise."""

    provider: _Provider | None = None
    currency: Annotated[
        str | None, Field(description="ISO 4217 alphabetic code, XXX for an unknown one.")
    ] = None

    @model_validator(mode="after")
    def _check_days(self) -> "MoneyFilter":
        first, end = map(date.fromisoformat, self.days())
        if end - first > timedelta(days=MONEY_DAYS):
            message = f"since: is more than {MONEY_DAYS} days before the end"
            raise PydanticCustomError("value", "{message}", {"message": message})
        return self

    def days(self) -> tuple[str, str]:
        """The first day, and the day after the last one."""
        times, now = self.times(), micros_now()
        # The day of a moment before `until` is the last one.
        end = day_of(times.get("until", now + 1) - 1 + DAY)
        return day_of(times.get("since", times.get("until", now) - _MONTH)), end
