"""The parameters of the board's lists and actions, for programs and pages alike."""

import base64
import json
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from sqlalchemy import Table
from starlette.requests import Request

from connectors.board.database import tables as t
from connectors.board.database.paging import Cursor, cursor_types
from connectors.board.http.refusal import BadInput
from connectors.clock import micros_now
from connectors.http.api import message_of
from connectors.triage.dead_letter import parse_place
from connectors.triage.filter import Filter, parse_filter, parse_time
from schemas.records import AnomalyKind, OrderState, Status

STATUSES: tuple[str, ...] = get_args(Status)
STATES: tuple[str, ...] = get_args(OrderState)
KINDS: tuple[str, ...] = get_args(AnomalyKind)
# `any` but the payer.
WaitsFor = Literal["any", "person", "provider", "service"]
PARTIES: tuple[str, ...] = get_args(WaitsFor)
Show = Literal["open", "resolved", "all"]
SHOWN: tuple[str, ...] = get_args(Show)
_LONGEST_REASON = 200
_LONGEST_NAME = 100
_LONGEST_NOTE = 500

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


def _cut(longest: int) -> AfterValidator:
    return AfterValidator(lambda text: text[:longest])


_Time = Annotated[
    str,
    _valid(lambda text: parse_time(text, micros_now())),
    Field(description="An age such as 2h or 3d, or a time in RFC 3339."),
]
_Place = Annotated[str, _valid(parse_place), Field(description="partition/offset")]
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
        raise BadInput(f"{name}: {message_of(first)}") from None


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


class LinkPage(Page):
    table: ClassVar = t.link_status
    provider: _Provider | None = None
    status: Status | None = None
    order_id: str | None = None


class OrderPage(Page):
    table: ClassVar = t.orders
    provider: _Provider | None = None
    state: OrderState | None = None
    waits_for: Annotated[
        WaitsFor | None,
        Field(description="Only orders that wait for this party; the oldest wait comes first."),
    ] = None


class NoticePage(Page):
    table: ClassVar = t.notices
    provider: _Provider | None = None


class ReconciliationPage(Page):
    table: ClassVar = t.reconciliations
    provider: _Provider | None = None


class AnomalyFilter(Parameters):
    """Open anomalies."""

    event_id: str | None = None
    provider: _Provider | None = None
    kind: AnomalyKind | None = None
    link: Annotated[str | None, Field(description="A link id.")] = None
    since: _Time | None = None
    until: _Time | None = None

    def filter(self) -> dict[str, Any]:
        """The filters of `database.anomalies`."""
        columns = self.chosen("event_id", "provider", "kind", "link")
        if "link" in columns:
            columns["link_id"] = columns.pop("link")
        times = {"since": self.since, "until": self.until}
        now = micros_now()
        return {**columns, **{name: parse_time(text, now) for name, text in times.items() if text}}


class AnomalyPage(AnomalyFilter, Page):
    table: ClassVar = t.anomalies
    show: Show = "all"


class DeadLetterFilter(Parameters):
    """Dead letters; by default the open ones."""

    provider: _Provider | None = None
    link: Annotated[str | None, Field(description="A link id; needs its provider.")] = None
    reason: Annotated[str, _cut(_LONGEST_REASON), Field(description="A part of the reason.")] = ""
    stage: str | None = None
    since: _Time | None = None
    until: _Time | None = None
    place: _Place | None = None

    @field_validator("link")
    @classmethod
    def _needs_provider(cls, link: str | None, info: ValidationInfo) -> str | None:
        if link and not info.data.get("provider"):
            raise PydanticCustomError("value", "needs the provider, too")
        return link

    def filter(self) -> Filter:
        """The filter of dead letters."""
        return parse_filter(self.chosen(), [self.place] if self.place else [], micros_now())


class DeadLetterPage(DeadLetterFilter, Page):
    table: ClassVar = t.dead_letters
    # Dead letters carry bodies of up to 64 KiB.
    limit: Annotated[int, Field(ge=1, le=100)] = 50
    show: Show = "all"


class Actor(Parameters):
    """Who acts."""

    by: Annotated[
        str, _cut(_LONGEST_NAME), Field(description="Your name, for the audit trail.")
    ] = ""

    def who(self, request: Request) -> str:
        """The name that the person gave, and how and from where the request came."""
        way = "through the API" if "authorization" in request.headers else "on the page"
        client = request.client.host if request.client else "an unknown address"
        return f"{self.by.strip() or 'someone'} {way}, from {client}"


class Marker(Actor):
    """Who marks, and why."""

    note: Annotated[str, _cut(_LONGEST_NOTE)] = ""

    @abstractmethod
    def filter(self) -> Any:
        """What to mark, for the queries of its kind."""


class ResolveAnomalies(AnomalyFilter, Marker):
    """Without a filter, all open anomalies."""


class ReopenAnomaly(Marker):
    event_id: str

    def filter(self) -> dict[str, Any]:
        """The filters of `database.anomalies`."""
        return {"event_id": self.event_id}


class ResolveDeadLetters(DeadLetterFilter, Marker):
    """Without a filter, all open dead letters."""


class ReopenDeadLetter(Marker):
    place: _Place

    def filter(self) -> Filter:
        """The filter of this dead letter."""
        return Filter(places=[parse_place(self.place)])


class ReplayDeadLetters(DeadLetterFilter, Actor):
    """Without a filter, all open dead letters."""


def format_cursor(position: Cursor | None) -> str | None:
    """The position as the parameter `cursor` takes it."""
    if position is None:
        return None
    packed = json.dumps(position, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def parse_cursor(text: str, table: Table) -> Cursor:
    """The position. Raises PydanticCustomError."""
    try:
        padded = text + "=" * (-len(text) % 4)
        position = json.loads(base64.b64decode(padded, b"-_", validate=True))
        fits = [type(part) for part in position] == list(cursor_types(table))
    except (ValueError, TypeError, RecursionError):
        fits = False
    if not fits or any(isinstance(part, int) and abs(part) >= 2**63 for part in position):
        raise PydanticCustomError("value", "is not the `next` of an earlier answer")
    return tuple(position)
