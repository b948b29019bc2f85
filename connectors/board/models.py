"""The answers of the JSON API."""

from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, create_model

from connectors.board.database.figures import Stage
from connectors.board.database.waiting import Party
from connectors.board.overview.money_back import MoneyBack
from connectors.board.overview.order_progress import CloseBlockers, Durations
from connectors.board.overview.problems import Problem
from connectors.board.overview.process_health import ProcessHealth
from connectors.board.overview.refused_callbacks import RefusedCallbacks
from connectors.masking import body_json, masked_headers
from connectors.providers import content
from connectors.providers.cancel_api import Outcome
from connectors.serialize import Model, Time, model_of
from schemas import codec
from schemas.records import OrderState, Status

Count = Annotated[int, Field(ge=0)]


class Waiting(Model):
    """Whom an order waits for."""

    waits_for: list[Party] = Field(description="The most alarming first.")
    since: Time
    reason: str = Field(description="A sentence that begins with `waits for`.")


class Mark(Model):
    """Who resolved it, and when."""

    by: str
    at: Time
    note: str


Resolved = Annotated[
    Mark | None,
    BeforeValidator(lambda mark: mark if mark and mark.resolved else None),
    Field(description="The mark that resolved it; null while it is not resolved."),
]


def _many(model: type[BaseModel], description: str | None = None) -> Any:
    return list[model], Field(description=description)  # type: ignore[valid-type]


def _optional(model: type[BaseModel]) -> Any:
    return model | None, ...


def page_of(name: str, model: type[BaseModel]) -> type[BaseModel]:
    """The answer of a list: its rows by `name`, and the cursor of the next page."""
    cursor = Field(description="The `cursor` of the next page; null on the last one.")
    fields: dict[str, Any] = {name: _many(model), "next": (str | None, cursor)}
    return create_model(f"{model.__name__}Page", __base__=Model, **fields)


LinkStatus = model_of(codec.LINK_STATUS)
OrderStatus = model_of(codec.ORDER_STATUS)
Notice = model_of(codec.NOTICE)
NoticeWithAnswer = create_model(
    "NoticeWithAnswer",
    __base__=Notice,
    answer=(
        str | None,
        Field(description="What the provider's API answers to a claim (`verified` is false)."),
    ),
)
Anomaly = create_model(
    "AnomalyWithMark", __base__=model_of(codec.ANOMALY), resolved=(Resolved, ...)
)
_WAITING: Any = (
    Waiting | None,
    Field(description="Why the order is not closed, or not settled; null: it waits for nothing."),
)


class Delivery(Model):
    """A callback that arrived about the link."""

    at: Time
    says: str = Field(description="The provider's word, or why no rule understood it.")
    event_id: str | None = Field(description="The same for all repeats; null for a dead letter.")
    number: Count = Field(description="1 for the first one of its event, 2 for its first repeat.")
    verified: bool = Field(description="Whether its signature proves it.")
    answer: int = Field(description="What the edge answered.")
    origin: str = Field(description="topic/partition/offset of the raw record.")
    dead_letter: str | None = Field(description="partition/offset, if no rule understood it.")


Link = create_model(
    "Link",
    __base__=LinkStatus,
    timeline=_many(model_of(codec.LINK_EVENT), "All events of the link, the oldest first."),
    anomaly_details=_many(Anomaly),
    actions=_many(Notice, "What people did about the link, the oldest first."),
    deliveries=_many(Delivery, "The newest callbacks, each repeat too, the newest first."),
    waiting=_WAITING,
)


ListedLink = create_model(
    "ListedLink",
    __base__=LinkStatus,
    order_state=(
        OrderState | None,
        Field(description="The state of its order; null while no order is known."),
    ),
    waiting=_WAITING,
)


LinkRefund = get_args(LinkStatus.model_fields["refunds"].annotation)[0]
OrderRefund = create_model("OrderRefund", __base__=LinkRefund, link_id=(str, ...))
_STAGE: Any = (
    Stage,
    Field(description="Where its money is, at all providers alike; SETTLED is final."),
)
ListedOrder = create_model("ListedOrder", __base__=OrderStatus, waiting=_WAITING, stage=_STAGE)
Order = create_model(
    "Order",
    __base__=OrderStatus,
    close=_optional(model_of(codec.ORDER_CLOSE)),
    corrections=_many(model_of(codec.ORDER_CORRECTION), "The highest `number` counts."),
    settlements=_many(model_of(codec.SETTLEMENT)),
    money_back=(MoneyBack, ...),
    refunds=_many(OrderRefund, "What went back, or may go back; the earliest first."),
    durations=(Durations, ...),
    close_blockers=(
        CloseBlockers | None,
        Field(description="Null once the close is decided, and for an order that is EMPTY."),
    ),
    waiting=_WAITING,
    stage=_STAGE,
)


class MoneySum(Model):
    """How many, and their amount."""

    number: int
    amount_minor: int = Field(description="In minor units; without those of unknown amount.")
    unknown: Count = Field(description="How many of them have no known amount.")


class MoneySums(Model):
    """Sums of one currency. Each amount counts on the UTC day on which it happened."""

    open: MoneySum = Field(description="Links that came on the day and have not ended.")
    closed: MoneySum = Field(description="Orders whose close was decided on the day.")
    awaited: MoneySum = Field(description="Those of `closed` whose settlement is not confirmed.")
    settled: MoneySum = Field(description="Orders whose settlement was confirmed on the day.")
    refunded: MoneySum = Field(description="Refunds, reversals and chargebacks of the day.")
    disputed: MoneySum = Field(description="Links in dispute since the day.")
    paid_out: MoneySum = Field(description="Payouts of the day, before fees.")
    different: MoneySum = Field(
        description="Orders that differ, by how much more was paid out than closed."
    )


class MoneyDay(MoneySums):
    """The sums of one day."""

    day: str = Field(description="UTC day, such as 2026-11-30.")


class CurrencyMoney(Model):
    """The money of one currency."""

    currency: str | None = Field(description="ISO 4217 code; null where none is known.")
    total: MoneySums
    days: list[MoneyDay] = Field(description="The latest first; without empty days.")


class Success(Model):
    """What became of the links of a connection that came within the days."""

    provider: str
    settled_by: str = Field(description="What confirms that its orders are settled.")
    registered: Count
    open: Count
    paid: Count
    expired: Count
    cancelled: Count
    failed: Count
    rate: float | None = Field(description="Paid ones among those that ended; null for none.")


class Money(Model):
    """Where the money is. Amounts of different currencies are never added."""

    since: str = Field(description="The first day.")
    until: str = Field(description="The day after the last one.")
    currencies: list[CurrencyMoney]
    providers: list[Success]


ReconciledDay = create_model(
    "ReconciledDay",
    __base__=model_of(codec.RECONCILIATION),
    reconciled_at=(Time, Field(description="When it was reconciled last.")),
)


class Body(Model):
    """A body as received, with its secrets masked. One that is not UTF-8 is in base64."""

    size: Count
    text: str | None = None
    base64: str | None = None


def _shown_body(body: bytes | None, info: ValidationInfo) -> dict[str, Any]:
    return body_json(content.shown(body, info.data.get("headers", {})))


class DeadLetter(Model):
    """A record that no rule understands."""

    topic: str
    partition: Count
    offset: Count
    at: Time
    key: Annotated[str | None, BeforeValidator(lambda key: key and key.decode(errors="replace"))]
    reason: str
    stage: str = Field(description="The stage that gave up on it.")
    origin: str = Field(description="Where it came from: topic/partition/offset.")
    headers: Annotated[dict[str, str], BeforeValidator(masked_headers)]
    body: Annotated[Body, BeforeValidator(_shown_body)]
    replays: list[model_of(codec.REPLAY)]  # type: ignore[valid-type]
    resolved: Resolved


class Processes(Model):
    processes: list[ProcessHealth]


class ProviderOverview(Model):
    """The links of one connection: an account at a provider."""

    provider: str | None = Field(description="Null if the connection is not configured.")
    links: dict[str, Count] = Field(description="The number of links by status.")
    events_within_hour: Count
    last_event_at: Time


class Overview(Model):
    """What flows now, and what is wrong."""

    problems: list[Problem] = Field(description="The urgent ones first.")
    providers: dict[str, ProviderOverview] = Field(description="By the connection's name.")
    refused_callbacks: list[RefusedCallbacks] = Field(
        description="Callbacks of the last week that got another answer than 200, the latest first."
    )
    anomalies_open: Count
    dead_letters_open: Count
    verified: Notice | None = Field(  # type: ignore[valid-type]
        description="The last result of `linkstatus verify`."
    )


class Matches(Model):
    count: Count


class ReplayState(Model):
    """A replay: done, or under way at a limited rate."""

    chosen: int | None = Field(description="Null until they are counted.")
    published: Count
    failed: bool
    message: str = Field(validation_alias="result")


class Cancellable(Model):
    """Whether the link can be cancelled from here."""

    provider: str
    link_id: str
    status: Status
    reason: str | None = Field(description="Why it cannot be; null if it can.")


class LookupRequested(Model):
    """The link will be looked up."""

    provider: str
    link_id: str


class Cancelled(Model):
    """The provider's answer."""

    outcome: Outcome
    message: str = Field(description="What the provider answered.")
    recorded: bool = Field(description="Whether `notices` keeps it.")
