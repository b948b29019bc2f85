"""Facts for the tests of the rules, with only what matters said."""

from typing import Any

from hypothesis import strategies as st

from connectors.provider import Raw
from schemas.records import LinkEvent, OrderEvent, OrderLink, Status
from streams.domain.rules import RANK

STATUSES: list[Status] = list(RANK)


def event(
    status: Status,
    word: str = "",
    *,
    verified: bool = True,
    at: int = 1_000,
    source: Any = "callback",
    link_id: str = "L1",
    **said: Any,
) -> LinkEvent:
    """A fact about link L1, received at `at` microseconds."""
    raw = Raw("acme", b"", {}, source, verified, at, f"callbacks.acme/0/{at}")
    return raw.event(link_id, status, word or status.lower(), **said)


def registration(order_id: str | None = None, at: int = 1, **said: Any) -> LinkEvent:
    """A registration of link L1."""
    content = {
        "order_id": order_id,
        "amount_minor": said.get("amount_minor"),
        "currency": said.get("currency"),
        "expires_at": said.get("expires_at"),
        "links_in_order": said.get("links_in_order"),
    }
    return event("CREATED", "registered", source="registration", at=at, registration=content)


def order_link(link_id: str, status: Status = "PAID", **said: Any) -> OrderLink:
    return {
        "link_id": link_id,
        "status": status,
        "payment_id": said.get("payment_id", f"pay-{link_id}"),
        "amount_minor": said.get("amount_minor", 500),
        "currency": said.get("currency", "EUR"),
        "paid_at": 7 if status == "PAID" else None,
        "settled": said.get("settled", False),
    }


def order_event(
    link: OrderLink | None = None,
    *,
    step: Any = None,
    reason: str | None = None,
    left: str | None = None,
    links_in_order: int | None = None,
    at: int = 10,
) -> OrderEvent:
    """A fact about order O1."""
    return {
        "provider": "acme",
        "order_id": "O1",
        "link": link,
        "left_link_id": left,
        "links_in_order": links_in_order,
        "update": None if step is None else {"step": step, "reason": reason},
        "at": at,
    }


@st.composite
def link_events(draw: st.DrawFn) -> LinkEvent:
    """Any fact about link L1 that a provider or a claim may bring."""
    verified = draw(st.booleans())
    paid = draw(st.sampled_from(["p1", "p2", None]))
    return event(
        draw(st.sampled_from(STATUSES)),
        draw(st.sampled_from(["a", "b"])),
        verified=verified,
        at=draw(st.integers(1, 50)),
        source=draw(st.sampled_from(["callback", "lookup", "poll", "replay"])),
        occurred_at=draw(st.one_of(st.none(), st.integers(1, 50))),
        payment_id=paid,
        payment_status=draw(
            st.sampled_from([None, "INITIATED", "EXECUTED", "PAID", "SETTLED", "FAILED"])
        ),
        order_id=draw(st.sampled_from([None, "O1", "O2"])),
        amount_minor=draw(st.sampled_from([None, 100, 200])),
        currency=draw(st.sampled_from([None, "EUR", "SEK"])),
        received_minor=draw(st.sampled_from([None, 100, 200])),
        coverage=draw(st.sampled_from([None, "NONE", "UNKNOWN", "UNDERPAID", "PAID", "OVERPAID"])),
        denies=draw(st.sampled_from([None, None, "PAID"])),
    )
