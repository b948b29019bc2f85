"""Records for the tests of the rules; only what matters to a test is given."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar, get_args

from hypothesis import strategies as st

from connectors.providers.facts import link_event
from connectors.providers.raw import Raw
from schemas.records import LinkEvent, OrderEvent, OrderLink, Status
from schemas.refund_records import RefundFact, RefundKind, RefundState
from streams.domain.orders import OrderOutcome, update_order
from streams.domain.rules import RANK, ProviderRules
from streams.domain.track import TrackOutcome

Outcome = TypeVar("Outcome", TrackOutcome, OrderOutcome)
STATUSES: list[Status] = list(RANK)


def event(
    status: Status,
    word: str = "",
    *,
    verified: bool = True,
    at: int = 1_000,
    source: Any = "callback",
    link_id: str = "L1",
    closed_elsewhere: bool = False,
    **fields: Any,
) -> LinkEvent:
    """Return an event of link L1, received at `at` microseconds."""
    raw = Raw("acme", b"", {}, source, verified, at, f"callbacks.acme/0/{at}")
    raw = replace(raw, closed_elsewhere=closed_elsewhere)
    return link_event(raw, link_id, status, word or status.lower(), **fields)


def claim(status: Status, *, at: int = 1_000, **fields: Any) -> LinkEvent:
    """Return an unverified event of link L1."""
    return event(status, verified=False, at=at, **fields)


def registration(order_id: str | None = None, at: int = 1, **fields: Any) -> LinkEvent:
    """Return a registration of link L1, received at `at`, and registered then too if no field says
    otherwise.
    """
    names = ("amount_minor", "currency", "expires_at", "links_in_order")
    content = {"order_id": order_id, **{name: fields.get(name) for name in names}}
    content["registered_at"] = fields.get("registered_at", at)
    return event("CREATED", "registered", source="registration", at=at, registration=content)


def order_link(link_id: str, status: Status = "PAID", **fields: Any) -> OrderLink:
    """Return a link of an order. The link waits for its amount if `awaits_details` is set."""
    return {
        "link_id": link_id,
        "status": status,
        "payment_id": fields.get("payment_id", f"pay-{link_id}"),
        "amount_minor": fields.get("amount_minor", 500),
        "currency": fields.get("currency", "EUR"),
        "paid_at": 7 if status == "PAID" else None,
        "settled": fields.get("settled", False),
        "awaits_details": fields.get("awaits_details", False),
        "links_in_order": fields.get("links_in_order"),
        "closed_elsewhere": fields.get("closed_elsewhere", False),
    }


def order_event(
    link: OrderLink | None = None,
    *,
    step: Any = None,
    reason: str | None = None,
    left: str | None = None,
    at: int = 10,
) -> OrderEvent:
    """Return an event of order O1. A link that `left` is of order O2 now."""
    return {
        "provider": "acme",
        "order_id": "O1",
        "link": link,
        "left_link_id": left,
        "left_for": None if left is None else "O2",
        "update": None if step is None else {"step": step, "reason": reason},
        "at": at,
    }


def in_turn(
    step: Callable[[Any, Any, ProviderRules], Outcome], events: Iterable[Any], rules: ProviderRules
) -> list[Outcome]:
    """Return what follows from each event in turn; a step gets the row of the one before it."""
    outcomes: list[Outcome] = []
    for each in events:
        outcomes.append(step(outcomes[-1].row if outcomes else None, each, rules))
    return outcomes


def follow(
    events: list[OrderEvent],
    rules: ProviderRules = ProviderRules(settlement="elsewhere"),  # noqa: B008 (frozen)
) -> list[OrderOutcome]:
    """Return what follows from each of an order's events."""
    return in_turn(update_order, events, rules)


def refund_fact(
    state: RefundState = "EXECUTED",
    amount_minor: int | None = None,
    *,
    kind: RefundKind = "REFUND",
    refund_id: str = "r1",
    payment_id: str | None = "p1",
    currency: str = "EUR",
) -> RefundFact:
    return {
        "refund_id": refund_id,
        "kind": kind,
        "state": state,
        "payment_id": payment_id,
        "amount_minor": amount_minor,
        "currency": None if amount_minor is None else currency,
    }


def refunded(
    state: RefundState = "EXECUTED",
    amount_minor: int | None = None,
    *,
    at: int = 2_000,
    reason: str | None = None,
    **fields: Any,
) -> LinkEvent:
    """Return an event about a refund of link L1."""
    fact = refund_fact(state, amount_minor, **fields)
    word = f"{fact['kind']}/{fact['refund_id']}/{state}".lower()
    return event("UNKNOWN", word, at=at, refund=fact, reason=reason, identity=(word, amount_minor))


@st.composite
def refund_facts(draw: st.DrawFn) -> RefundFact:
    """Draw what any fact about a refund of link L1 may state."""

    def one_of(*values: Any) -> Any:
        return draw(st.sampled_from(values))

    return refund_fact(
        one_of("UNKNOWN", "PENDING", "EXECUTED", "FAILED", "RETURNED"),
        one_of(None, 50, 100, 250),
        kind=one_of(*(kind for kind in get_args(RefundKind) if kind != "UNKNOWN")),
        refund_id=one_of("r1", "r2", "p1"),
        payment_id=one_of("p1", "p2", None),
        currency=one_of("EUR", "SEK"),
    )


@st.composite
def registrations(draw: st.DrawFn) -> LinkEvent:
    """Draw any registration of link L1."""

    def one_of(*values: Any) -> Any:
        return draw(st.sampled_from(values))

    return registration(
        one_of(None, "O1", "O2", "O3"),
        draw(st.integers(1, 50)),
        registered_at=draw(st.integers(1, 50)),
        amount_minor=one_of(None, 100, 200),
        currency="EUR",
        expires_at=one_of(None, 60, 70),
        links_in_order=one_of(None, 1, 2),
    )


@st.composite
def link_events(draw: st.DrawFn) -> LinkEvent:
    """Draw any event of link L1 that a provider or a claim can bring."""

    def one_of(*values: Any) -> Any:
        return draw(st.sampled_from(values))

    return event(
        one_of(*STATUSES),
        one_of("a", "b"),
        verified=draw(st.booleans()),
        at=draw(st.integers(1, 50)),
        source=one_of("callback", "lookup", "poll", "replay", "import"),
        closed_elsewhere=draw(st.booleans()),
        occurred_at=draw(st.one_of(st.none(), st.integers(1, 50))),
        payment_id=one_of("p1", "p2", None),
        payment_status=one_of(None, "INITIATED", "EXECUTED", "PAID", "SETTLED", "FAILED"),
        order_id=one_of(None, "O1", "O2"),
        amount_minor=one_of(None, 100, 200),
        currency=one_of(None, "EUR", "SEK"),
        received_minor=one_of(None, 100, 200),
        coverage=one_of(None, "NONE", "UNKNOWN", "UNDERPAID", "PAID", "OVERPAID"),
        denies=one_of(None, None, "PAID"),
        refund=draw(st.one_of(st.none(), refund_facts())),
        reason=one_of(None, "a reason", "another"),
    )
