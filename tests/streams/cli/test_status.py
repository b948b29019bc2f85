"""`linkstatus status` and `links list`, asked of a real board."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.board import BoardConfig, application, open_board
from connectors.board.keep import keep
from connectors.board.store import Store
from connectors.kafka import Cluster
from connectors.process import Address
from connectors.registry import PROVIDERS
from schemas import topics
from tests.connectors.board.samples import AT, Make
from tests.streams.cli.shell import Shell, serving

SECOND = 1_000_000
DAY = 86_400 * SECOND


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture
def store(tmp_path: Path, shell: Shell) -> Iterator[Store]:
    """The store of a board that the shell asks."""
    url = f"sqlite:///{tmp_path / 'board.sqlite'}"
    config = BoardConfig(Cluster("127.0.0.1:1"), tuple(PROVIDERS), url, Address("127.0.0.1", 0))
    board = open_board(config)
    with serving(application(board, [])) as address:
        shell.set(EDGE_URL=address)
        yield board.store
    board.store.close()


def paid_in_an_order(make: Make, store: Store) -> None:
    """A late callback claims it, the lookup proves it, and the order goes its whole way."""
    said: dict[str, Any] = {"status": "PAID", "provider_status": "COMPLETED"}
    first = make.event("e1", **said, received_at=AT, occurred_at=AT - 90 * SECOND)
    proof = make.event(
        "e2",
        **said,
        received_at=AT + 250_000,
        source="lookup",
        verified=True,
        amount_minor=169_881,
        currency="SEK",
    )
    opened = make.event("e3", received_at=AT + DAY, source="replay", verified=True)
    status = make.status(
        status="PAID",
        order_id="order-1",
        order_from="LOOKUP",
        payment_ids=["payment-1"],
        amount_minor=169_881,
        currency="SEK",
        coverage="PAID",
        anomalies=["UNDERPAID"],
    )
    order = make.order(
        "order-1",
        state="SETTLED",
        links=[make.order_link("link-1"), make.order_link("link-2", status="EXPIRED")],
        closed_link_ids=["link-1"],
        decided_at=AT + SECOND,
        steps={"CLOSED": AT + 2 * SECOND, "SETTLED": AT + 64 * SECOND},
    )
    keep(
        store,
        [
            *make.statuses(status),
            *(make.message(topics.LINK_EVENTS, event) for event in (opened, first, proof)),
            make.message(topics.ANOMALIES, make.anomaly("a1", at=AT + SECOND // 2)),
            make.message(topics.ORDERS, order),
            make.message(
                topics.ORDER_CLOSE, {**make.close("c1", "order-1"), "decided_at": AT + SECOND}
            ),
            make.message(
                topics.SETTLEMENT,
                make.settlement("s1", "order-1", "CONFIRMED", AT + 64 * SECOND),
            ),
        ],
    )


DRAWN = """\
PAID  ping link-1
amount     1,698.81 SEK
payment    payment-1
order      order-1 (as the provider says)
anomalies  UNDERPAID

2023-11-14 UTC
22:13:20            PAID       callback claim   COMPLETED, happened 22:11:50
22:13:20  +0.250s > PAID       lookup verified  COMPLETED, 1,698.81 SEK
22:13:20  +0.500s   ANOMALY    anomalies        UNDERPAID
22:13:21  +1.000s   CLOSE      order-close      0 links, 12.34 EUR
22:13:22  +2.000s   CLOSED     order-updates
22:14:24  +1m 04s   SETTLED    order-updates
22:14:24  +1m 04s   CONFIRMED  settlement       12.34 EUR
11-15
22:13:20  +1d 00h   CREATED    replay verified  CREATED

anomaly    detail
UNDERPAID  received 1.00 of 12.34 EUR

order order-1: SETTLED; paid to closed 2.000s, closed to settled 1m 02s
its other links  status   amount
link-2           EXPIRED  12.34 EUR
"""


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_a_life_is_drawn_from_the_first_word_to_the_settlement(
    shell: Shell, store: Store, make: Make
) -> None:
    paid_in_an_order(make, store)
    out = shell.ok("status", "ping", "link-1")
    assert lines(out) == lines(DRAWN)
    assert max(map(len, out.splitlines())) <= 80


def test_colours_are_for_terminals_that_want_them(
    shell: Shell, store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid_in_an_order(make, store)
    assert "\x1b" not in shell.ok("status", "ping", "link-1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;32m" in shell.ok("status", "ping", "link-1")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "32m" not in shell.ok("status", "ping", "link-1")


def test_json_is_the_board_s_answer_and_its_order(shell: Shell, store: Store, make: Make) -> None:
    paid_in_an_order(make, store)
    (line,) = shell.ok("status", "ping", "link-1", "--json").splitlines()
    link = json.loads(line)
    assert (link["status"], len(link["timeline"])) == ("PAID", 3)
    assert (link["order"]["state"], link["order"]["close"]["event_id"]) == ("SETTLED", "c1")


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({"links": ["PROCESSING"]}, "waits for 1 link to end: this one"),
        ({"links": ["PAID"], "links_in_order": 3}, "waits for 2 links that nobody has told of"),
        ({"links": ["EXPIRED"]}, "waits for a payment"),
    ],
)
def test_an_open_order_says_what_it_waits_for(
    shell: Shell, store: Store, make: Make, changes: dict[str, Any], waits: str
) -> None:
    links = [make.order_link("link-1", status=status) for status in changes["links"]]
    order = make.order("link-1", **{**changes, "links": links})
    keep(store, [*make.statuses(make.status()), make.message(topics.ORDERS, order)])
    assert waits in shell.ok("status", "ping", "link-1")


def test_a_failed_step_says_why(shell: Shell, store: Store, make: Make) -> None:
    order = make.order("link-1", state="FAILED", steps={"FAILED": AT}, failure="no such order")
    keep(store, [*make.statuses(make.status()), make.message(topics.ORDERS, order)])
    out = shell.ok("status", "ping", "link-1")
    assert "FAILED  order-updates  no such order" in out
    assert "order link-1: FAILED (no such order)" in out


def test_what_a_provider_says_cannot_command_the_terminal(
    shell: Shell, store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    event = make.event("e1", provider_status="\x1b[2J[red]gone", reason="a\nb")
    keep(store, [*make.statuses(make.status()), make.message(topics.LINK_EVENTS, event)])
    out = shell.ok("status", "ping", "link-1")
    assert "\x1b" not in out
    assert "\\x1b[2J[red]gone" in out


def test_a_claim_and_an_order_not_named_yet_are_said(
    shell: Shell, store: Store, make: Make
) -> None:
    status = make.status(claimed_status="PAID", order_from="AWAITED", amount_minor=None)
    keep(store, make.statuses(status))
    out = shell.ok("status", "ping", "link-1")
    assert "PAID, not proven" in out
    assert "not named yet" in out


def test_an_unknown_link_ends_with_1_and_says_where_to_look(shell: Shell, store: Store) -> None:
    ran = shell.run("status", "ping", "nope/ö")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines() == [
        "linkstatus: nothing is known of ping link nope/ö",
        "  `linkstatus links list` shows the newest",
    ]


def test_links_are_listed_newest_first(shell: Shell, store: Store, make: Make) -> None:
    link: Callable[..., Any] = make.status
    agreed = {"order_id": None, "amount_minor": 500, "currency": "JPY", "expires_at": None}
    rows = [
        link("old", changed_at=AT),
        link("new", changed_at=AT + 1, status="PAID", anomalies=["STALE"]),
        link("other", changed_at=AT + 2, provider="peach", amount_minor=None,
             registration={**agreed, "links_in_order": None}),
    ]  # fmt: skip
    keep(store, make.statuses(*rows))
    shown = [line.split()[1:] for line in lines(shell.ok("links", "list"))]
    assert shown == [
        ["provider", "link", "status", "amount"],
        ["peach", "other", "CREATED", "500", "JPY"],
        ["ping", "new", "PAID", "12.34", "EUR"],
        ["STALE"],
        ["ping", "old", "CREATED", "12.34", "EUR"],
    ]
    listed = shell.ok("links", "list", "--status", "paid", "--json").splitlines()
    assert [json.loads(line)["link_id"] for line in listed] == ["new"]
    listed = shell.ok("links", "list", "--provider", "ping", "--limit", "1", "--json").splitlines()
    assert [json.loads(line)["link_id"] for line in listed] == ["new"]


def test_more_links_than_a_page_are_listed(
    shell: Shell, store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.cli.asking._PAGE", 2)
    keep(store, make.statuses(*(make.status(f"link-{n}", changed_at=AT + n) for n in range(5))))
    listed = shell.ok("links", "list", "--json", "--limit", "4").splitlines()
    assert [json.loads(line)["link_id"][-1] for line in listed] == ["4", "3", "2", "1"]


def test_a_status_that_is_none_is_a_wrong_option(shell: Shell, store: Store) -> None:
    ran = shell.run("links", "list", "--status", "payed")
    assert ran.code == 2
    assert "status: is not one of UNKNOWN, CREATED" in ran.err
