"""`linkstatus status` and `linkstatus links list`, on a real board."""

from typing import Any

import pytest

from connectors.board.database.store import Store
from schemas import topics
from tests.connectors.board.samples import AT, Make, save
from tests.support.shell import Shell

SECOND = 1_000_000
DAY = 86_400 * SECOND


def paid_in_an_order(make: Make, store: Store) -> None:
    """A late callback claims the payment, the lookup proves it, the order settles."""
    paid: dict[str, Any] = {"status": "PAID", "provider_status": "COMPLETED"}
    money: dict[str, Any] = {"amount_minor": 169_881, "currency": "SEK"}
    lookup: dict[str, Any] = {"received_at": AT + 250_000, "source": "lookup", "verified": True}
    events = (
        make.event("e3", received_at=AT + DAY, source="replay", verified=True),
        make.event("e1", **paid, received_at=AT, occurred_at=AT - 90 * SECOND),
        make.event("e2", **paid, **money, **lookup),
    )
    status = make.status(
        status="PAID",
        order_id="order-1",
        order_from="LOOKUP",
        payment_ids=["payment-1"],
        coverage="PAID",
        anomalies=["UNDERPAID"],
        **money,
    )
    order = make.order(
        "order-1",
        state="SETTLED",
        links=[make.order_link("link-1"), make.order_link("link-2", status="EXPIRED")],
        closed_link_ids=["link-1"],
        decided_at=AT + SECOND,
        steps={"CLOSED": AT + 2 * SECOND, "SETTLED": AT + 64 * SECOND},
    )
    close: Any = {**make.close("c1", "order-1"), "decided_at": AT + SECOND}
    correction: Any = make.correction("k1", "order-1", "c1") | {"decided_at": AT + 3 * SECOND}
    settlement = make.settlement("s1", "order-1", "CONFIRMED", AT + 64 * SECOND)
    save(
        store,
        [
            *make.statuses(status),
            *(make.message(topics.LINK_EVENTS, event) for event in events),
            make.message(topics.ANOMALIES, make.anomaly("a1", at=AT + SECOND // 2)),
            make.message(topics.ORDERS, order),
            make.message(topics.ORDER_CLOSE, close),
            make.message(topics.ORDER_CORRECTIONS, correction),
            make.message(topics.SETTLEMENT, settlement),
        ],
    )


DRAWING = """\
PAID  ping link-1
amount     1,698.81 SEK
payment    payment-1
order      order-1 (from the provider)
anomalies  UNDERPAID

2023-11-14 UTC
22:13:20            PAID       callback claim     COMPLETED, occurred 22:11:50
22:13:20  +0.250s > PAID       lookup verified    COMPLETED, 1,698.81 SEK
22:13:20  +0.500s   ANOMALY    anomalies          UNDERPAID
22:13:21  +1.000s   CLOSE      order-close        0 links, 12.34 EUR
22:13:22  +2.000s   CLOSED     order-updates
22:13:23  +3.000s   CORRECTED  order-corrections  12.34 EUR
22:14:24  +1m 04s   SETTLED    order-updates
22:14:24  +1m 04s   CONFIRMED  settlement         12.34 EUR
11-15
22:13:20  +1d 00h   CREATED    replay verified    CREATED

anomaly    detail
UNDERPAID  received 1.00 of 12.34 EUR

order order-1: SETTLED; paid to closed 2.000s, closed to settled 1m 02s
its other links  status   amount
link-2           EXPIRED  12.34 EUR
"""


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_drawing_shows_the_life_from_first_event_to_settlement(
    shell: Shell, store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid_in_an_order(make, store)
    out = shell.ok("status", "ping", "link-1")
    assert lines(out) == lines(DRAWING)
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out  # colours are for terminals that accept them
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;32m" in shell.ok("status", "ping", "link-1")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "32m" not in shell.ok("status", "ping", "link-1")
    link = shell.json("status", "ping", "link-1")
    assert (link["status"], len(link["timeline"])) == ("PAID", 3)
    assert (link["order"]["state"], link["order"]["close"]["event_id"]) == ("SETTLED", "c1")


@pytest.mark.parametrize(
    ("changes", "blockers"),
    [
        (
            {"links": ["PAID"], "details_awaited_since": AT},
            "waits for ping's API to tell the amount of link link-1, silent since 2023-11-14 22:13",
        ),
        ({"links": ["PROCESSING"]}, "waits for ping to finish the payment of link link-1"),
        ({"links": ["PAID"], "links_in_order": 3}, "waits for 2 more links to be registered"),
        ({"links": ["EXPIRED"]}, "waits for a payment: all its links have ended unpaid"),
    ],
)
def test_open_order_names_its_blockers(
    shell: Shell, store: Store, make: Make, changes: dict[str, Any], blockers: str
) -> None:
    awaits = "details_awaited_since" in changes
    links = [
        make.order_link("link-1", status=status, awaits_details=awaits)
        for status in changes["links"]
    ]
    order = make.order("link-1", **{**changes, "links": links})
    save(store, [*make.statuses(make.status()), make.message(topics.ORDERS, order)])
    assert blockers in " ".join(shell.ok("status", "ping", "link-1").split())


def test_g2_link_that_is_only_authorised_says_so(shell: Shell, store: Store, make: Make) -> None:
    save(store, make.statuses(make.status(status="PROCESSING", reason="authorised only")))
    assert "reason  authorised only" in shell.ok("status", "ping", "link-1")


def test_failed_step_shows_its_reason(shell: Shell, store: Store, make: Make) -> None:
    order = make.order("link-1", state="FAILED", steps={"FAILED": AT}, failure="no such order")
    save(store, [*make.statuses(make.status()), make.message(topics.ORDERS, order)])
    out = shell.ok("status", "ping", "link-1")
    assert "FAILED  order-updates  no such order" in out
    assert "order link-1: FAILED (no such order)" in out


def test_refunds_are_drawn_with_what_remains(shell: Shell, store: Store, make: Make) -> None:
    refund = make.refund("r1", times={"EXECUTED": AT})
    money: dict[str, Any] = {"refunded_minor": 234, "disputed_minor": 0, "net_minor": 1000}
    status = make.status(status="PAID", refunds=[refund], **money)
    fact = {"refund_id": "r1", "kind": "REFUND", "state": "EXECUTED", "payment_id": None}
    event = make.event(
        "e1",
        status="UNKNOWN",
        provider_status="refund_executed",
        verified=True,
        refund={**fact, "amount_minor": 234, "currency": "EUR"},
        received_at=AT,
    )
    save(store, [*make.statuses(status), make.message(topics.LINK_EVENTS, event)])
    out = lines(shell.ok("status", "ping", "link-1"))
    assert "went back  refunded 2.34 EUR, remains 10.00 EUR" in out
    drawn = [line.split(maxsplit=2)[1:] for line in out if line.startswith("22:13:20")]
    assert drawn == [["REFUND", "callback verified  refund_executed, 2.34 EUR"]]
    assert "refunded 2.34 EUR, remains 10.00 EUR" in out[-1]
    disputed = {**status, "version": 2, "disputed_minor": 1000, "net_minor": None}
    save(store, [make.message(topics.LINK_STATUS, disputed)])
    out = lines(shell.ok("status", "ping", "link-1"))
    remains = "refunded 2.34 EUR, disputed 10.00 EUR, remains an unknown amount"
    assert f"went back  {remains}" in out


def test_g4_each_registration_is_drawn_with_what_it_says(
    shell: Shell, store: Store, make: Make
) -> None:
    first = make.registration(order_id="O7", amount_minor=14_000, links_in_order=2)
    moved = make.registration(
        order_id="O8", amount_minor=15_000, expires_at=AT + DAY, registered_at=AT + SECOND
    )
    late = make.registration(registered_at=AT - DAY)
    events = (
        make.registered(f"e{n}", registration, received_at=AT + n * SECOND)
        for n, registration in enumerate((first, moved, late))
    )
    save(
        store,
        [
            *make.statuses(make.status(order_id="O8", registration=moved)),
            *(make.message(topics.LINK_EVENTS, event) for event in events),
        ],
    )
    drawn = " ".join(shell.ok("status", "ping", "link-1").split())
    assert "CREATED registration order O7, 2 links, 140.00 EUR" in drawn
    assert "CREATED registration order O8, 150.00 EUR, expires 2023-11-15 22:13:20" in drawn
    assert "CREATED registration no order, registered 2023-11-13 22:13:20" in drawn


def test_provider_text_cannot_command_the_terminal(
    shell: Shell, store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    event = make.event("e1", provider_status="\x1b[2J[red]gone", reason="a\nb")
    save(store, [*make.statuses(make.status()), make.message(topics.LINK_EVENTS, event)])
    out = shell.ok("status", "ping", "link-1")
    assert "\x1b" not in out
    assert "\\x1b[2J[red]gone" in out


def test_claim_and_unknown_order_are_shown(shell: Shell, store: Store, make: Make) -> None:
    status = make.status(claimed_status="PAID", order_from="AWAITED", amount_minor=None)
    save(store, make.statuses(status))
    out = shell.ok("status", "ping", "link-1")
    assert "PAID, not proven" in out
    assert "unknown until a lookup or a registration names it" in out


def test_claimed_link_is_of_no_order(shell: Shell, store: Store, make: Make) -> None:
    claimed = make.status(status="UNKNOWN", claimed_status="PAID", verified=False)
    save(store, [*make.statuses(claimed), make.message(topics.ORDERS, make.order("link-1"))])
    out = shell.ok("status", "ping", "link-1")
    assert "none until the provider confirms the link, or it is registered" in out
    assert shell.json("status", "ping", "link-1")["order"] is None


def test_unknown_link_ends_with_1_and_a_hint(shell: Shell, store: Store) -> None:
    ran = shell.run("status", "ping", "nope/ö")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines() == [
        "linkstatus: the board does not know ping link nope/ö",
        "  `linkstatus links list` shows the newest links",
    ]


def test_list_fits_80_columns_and_cuts_no_id(shell: Shell, store: Store, make: Make) -> None:
    id_ = "x" * 60
    money: dict[str, Any] = {"amount_minor": 123_456_789, "currency": "SEK"}
    save(store, make.statuses(make.status(id_, status="PROCESSING", **money)))
    out = shell.ok("links", "list")
    assert max(map(len, out.splitlines())) <= 80
    # In its row, and in the sentence that says what it waits for.
    assert out.count("x") == 2 * 60
    assert "1,234,567.89 SEK" in out


def test_links_are_listed_newest_first(shell: Shell, store: Store, make: Make) -> None:
    registered = make.registration(amount_minor=500, currency="JPY")
    paid = make.status("new", changed_at=AT + 1, status="PAID", anomalies=["STALE"])
    peach = {"provider": "peach", "amount_minor": None, "registration": registered}
    other = make.status("other", changed_at=AT + 2, **peach)
    save(store, make.statuses(make.status("old", changed_at=AT), paid, other))
    assert [line.split()[1:] for line in shell.ok("links", "list").splitlines()] == [
        ["provider", "link", "status", "amount"],
        ["peach", "other", "CREATED", "500", "JPY"],
        ["ping", "new", "PAID", "12.34", "EUR"],
        ["STALE"],
        ["ping", "old", "CREATED", "12.34", "EUR"],
    ]
    for options in (["--status", "paid"], ["--provider", "ping", "--limit", "1"]):
        (link,) = shell.rows("links", "list", *options)
        assert link["link_id"] == "new"


def test_list_reads_more_than_one_page(
    shell: Shell, store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.cli.board_client._PAGE", 2)
    save(store, make.statuses(*(make.status(f"link-{n}", changed_at=AT + n) for n in range(5))))
    rows = shell.rows("links", "list", "--limit", "4")
    assert [row["link_id"][-1] for row in rows] == ["4", "3", "2", "1"]
