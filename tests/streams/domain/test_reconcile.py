"""Reconcile: each close and each payout line is in exactly one result, and no money is lost."""

from collections import Counter
from dataclasses import replace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from schemas import codec, limits
from schemas.payouts import PayoutKind, PayoutLine, ReconciliationOutcome
from schemas.records import OrderClose
from schemas.times import DAY
from streams.domain.payout_records import payouts_of, reconciliation_of, settled_orders, sums_of
from streams.domain.reconcile import (
    DIFFERENCES,
    Amounts,
    Ledger,
    Period,
    Result,
    Row,
    amounts,
    closed_amounts,
    day_of,
)
from tests.support.codecs import CODECS

# 2025-11-01T00:00:00Z
NOVEMBER = 1_761_955_200_000_000
THE_DAY = Period(NOVEMBER, NOVEMBER + DAY)
ORDERS = ("O1", "O2", "O3")
KINDS: tuple[PayoutKind, ...] = ("PAYMENT", "REFUND", "FEE", "TRANSFER", "CORRECTION")


def close(order_id: str = "O1", *minor: int | None, **changes: Any) -> OrderClose:
    """Return the close of an order with a link for each amount, in EUR."""
    values = minor or (1000,)
    links: Any = [
        {
            "link_id": f"{order_id}-L{number}",
            "payment_id": f"{order_id}-P{number}",
            "amount_minor": amount,
            "currency": None if amount is None else "EUR",
            "paid_at": NOVEMBER,
        }
        for number, amount in enumerate(values)
    ]
    known = [amount for amount in values if amount is not None]
    whole = len(known) == len(values)
    record: dict[str, Any] = {
        "event_id": f"close-{order_id}",
        "provider": "acme",
        "order_id": order_id,
        "links": links,
        "total_minor": sum(known) if whole else None,
        "currency": "EUR" if whole else None,
        "decided_at": NOVEMBER + 1,
    }
    return cast("OrderClose", record | changes)


def line(
    line_id: str = "A",
    gross: int = 1000,
    fee: int = 0,
    net: int | None = None,
    *,
    kind: PayoutKind = "PAYMENT",
    **fields: Any,
) -> PayoutLine:
    """Return a line of a day in November 2025, in EUR."""
    values = {"at": NOVEMBER + 2, "currency": "EUR", "payout_id": "B1", **fields}
    net_minor = gross - fee if net is None else net
    return PayoutLine(
        line_id=line_id, kind=kind, gross_minor=gross, fee_minor=fee, net_minor=net_minor, **values
    )


def one_row(result: Result) -> Row:
    (row,) = result.rows
    return row


def judged(closed: OrderClose, *lines: PayoutLine) -> Row:
    return one_row(Ledger.of([closed], lines).reconcile(THE_DAY))


def test_order_that_was_paid_out_whole_is_matched_and_its_fee_is_apart() -> None:
    row = judged(close(), line(gross=1000, fee=25, payment_id="O1-P0"))
    assert (row.outcome, row.detail) == ("MATCHED", "")
    assert amounts(row.lines) == {"EUR": Amounts(1000, 25, 0, 975)}


def test_fee_in_lines_of_its_own_counts_for_the_order() -> None:
    share, fee = line("A", 970, payment_id="O1-P0"), line("B", 30, 30, payment_id="O1-P0")
    row = judged(close(), share, fee)
    assert row.outcome == "MATCHED"
    assert amounts(row.lines) == {"EUR": Amounts(1000, 30, 0, 970)}


def test_order_in_no_payout_is_missing() -> None:
    row = judged(close())
    assert row.outcome == "MISSING"
    assert row.detail == "closed 2025-11-01T00:00:00Z; no known payout has it"


def test_refund_alone_does_not_pay_an_order() -> None:
    assert judged(close(), line(kind="REFUND", gross=-300, order_id="O1")).outcome == "MISSING"


def test_refund_of_a_paid_order_is_apart() -> None:
    refund = line("B", -300, kind="REFUND", payment_id="O1-P0")
    row = judged(close(), line("A", payment_id="O1-P0"), refund)
    assert row.outcome == "MATCHED"
    assert amounts(row.lines) == {"EUR": Amounts(1000, 0, 300, 700)}


def test_refund_of_more_than_was_paid_differs() -> None:
    lines = line(payment_id="O1-P0"), line("B", -1001, kind="REFUND", order_id="O1")
    row = judged(close(), *lines)
    detail = "refunded 10.01 EUR, more than was paid"
    assert (row.outcome, row.detail) == ("AMOUNT_DIFFERS", detail)
    whole = replace(lines[1], gross_minor=-1000, net_minor=-1000)
    assert judged(close(), lines[0], whole).outcome == "MATCHED"


def test_correction_of_an_order_changes_what_was_paid_out() -> None:
    correction = line("B", -300, kind="CORRECTION", order_id="O1")
    row = judged(close(), line(payment_id="O1-P0"), correction)
    detail = "paid out 7.00 EUR, 3.00 EUR less than closed"
    assert (row.outcome, row.detail) == ("AMOUNT_DIFFERS", detail)
    assert judged(close(), line(gross=1300, payment_id="O1-P0"), correction).outcome == "MATCHED"


def test_other_amount_differs_and_says_by_how_much() -> None:
    row = judged(close("O1", 1000, 500), line(gross=990, fee=10, payment_id="O1-P0"))
    assert row.outcome == "AMOUNT_DIFFERS"
    assert row.detail == (
        "paid out 9.90 EUR, 5.10 EUR less than closed; payment O1-P1 is in no known payout"
    )


def test_other_currency_differs() -> None:
    row = judged(close(), line(gross=1000, currency="SEK", order_id="O1"))
    assert row.outcome == "AMOUNT_DIFFERS"
    assert row.detail == (
        "paid out 0.00 EUR, 10.00 EUR less than closed; "
        "paid out 10.00 SEK, 10.00 SEK more than closed"
    )


def test_amounts_that_contradict_each_other_differ() -> None:
    row = judged(close(), line(gross=1000, fee=25, net=970, payment_id="O1-P0"))
    assert row.outcome == "AMOUNT_DIFFERS"
    assert row.detail == "line A: 10.00 EUR less a fee of 0.25 EUR is not 9.70 EUR"


def test_close_without_an_amount_differs() -> None:
    row = judged(close("O1", None), line(payment_id="O1-P0"))
    assert row.outcome == "AMOUNT_DIFFERS"
    assert "without an amount" in row.detail


def test_close_in_two_currencies_is_compared_in_each() -> None:
    both = close("O1", 1000, 500)
    both["links"][1]["currency"] = "SEK"
    both |= {"total_minor": None, "currency": None}
    euros, crowns = line("A", order_id="O1"), line("B", 500, currency="SEK", order_id="O1")
    assert judged(both, euros, crowns).outcome == "MATCHED"
    assert judged(both, euros).outcome == "AMOUNT_DIFFERS"


def test_line_finds_its_order_by_payment_then_order_then_link() -> None:
    closes = [close("O1"), close("O2"), close("O3")]
    lines = [
        line("A", payment_id="O1-P0", order_id="O2", link_id="O3-L0"),
        line("B", payment_id="another", order_id="O2", link_id="O3-L0"),
        line("C", payment_id="another", order_id="another", link_id="O3-L0"),
    ]
    rows = Ledger.of(closes, lines).reconcile(THE_DAY).rows
    assert [(row.subject, *(one.line_id for one in row.lines)) for row in rows] == [
        ("O1", "A"),
        ("O2", "B"),
        ("O3", "C"),
    ]


def test_refund_with_an_id_of_its_own_finds_its_order_by_the_merchants_id() -> None:
    paid = line("A", payment_id="O1-P0", order_id="INV-1")
    refund = line("B", -300, kind="REFUND", payment_id="R1", order_id="INV-1")
    row = judged(close(), refund, paid)
    assert (row.outcome, [one.line_id for one in row.lines]) == ("MATCHED", ["A", "B"])


def test_order_that_was_paid_twice_differs() -> None:
    lines = [line(p, payment_id=p, order_id="INV-1") for p in ("O1-P0", "another")]
    row = judged(close(), *lines)
    assert row.outcome == "AMOUNT_DIFFERS"
    assert row.detail == "paid out 20.00 EUR, 10.00 EUR more than closed"


def test_merchants_id_of_several_orders_identifies_none() -> None:
    lines = [line(p, payment_id=p, order_id="INV") for p in ("O1-P0", "O2-P0", "another")]
    rows = Ledger.of([close("O1"), close("O2")], lines).reconcile(THE_DAY).rows
    assert [(row.outcome, row.subject) for row in rows] == [
        ("UNKNOWN_TO_US", "another"),
        ("MATCHED", "O1"),
        ("MATCHED", "O2"),
    ]


def test_lines_about_one_unknown_payment_are_one_row() -> None:
    stranger = [line(name, payment_id="P9") for name in ("A", "B")]
    row = one_row(Ledger.of([], stranger).reconcile(THE_DAY))
    assert (row.outcome, row.subject, len(row.lines)) == ("UNKNOWN_TO_US", "P9", 2)


def test_only_fees_and_transfers_need_no_order() -> None:
    lines = [line(kind, kind=kind) for kind in KINDS]
    result = Ledger.of([], lines).reconcile(THE_DAY)
    assert {row.subject: row.outcome for row in result.rows} == {
        "PAYMENT": "UNKNOWN_TO_US",
        "REFUND": "UNKNOWN_TO_US",
        "CORRECTION": "UNKNOWN_TO_US",
        "FEE": "OTHER",
        "TRANSFER": "OTHER",
    }


def test_start_of_a_period_is_inside_and_its_end_is_not() -> None:
    at = (THE_DAY.start - 1, THE_DAY.start, THE_DAY.end - 1, THE_DAY.end)
    lines = [line(str(n), at=when, payment_id=f"P{n}") for n, when in enumerate(at)]
    rows = Ledger.of([], lines).reconcile(THE_DAY).rows
    assert [row.subject for row in rows] == ["P1", "P2"]
    assert [period.day() for period in Period(NOVEMBER, NOVEMBER + 2 * DAY).days()] == [
        "2025-11-01",
        "2025-11-02",
    ]


def test_order_is_missing_on_the_day_on_which_it_was_due() -> None:
    ledger = Ledger.of([close()], [])
    days = [Period(NOVEMBER + n * DAY, NOVEMBER + (n + 1) * DAY) for n in range(4)]
    assert [bool(ledger.reconcile(day, payout_days=2).rows) for day in days] == [
        *(False, False, True, False)
    ]


def test_payout_of_another_day_pays_an_order_that_was_due() -> None:
    later = line(at=NOVEMBER + 3 * DAY, payment_id="O1-P0")
    result = Ledger.of([close()], [later]).reconcile(THE_DAY)
    assert one_row(result).outcome == "MATCHED"
    assert result.lines() == [], "the sums of a day have its own lines only"


def test_order_with_a_line_of_the_day_has_its_lines_of_other_days() -> None:
    parts = [line("A", 400, order_id="O1", at=NOVEMBER - DAY), line("B", 600, order_id="O1")]
    early = close(decided_at=NOVEMBER - 40 * DAY)
    result = Ledger.of([early], parts).reconcile(THE_DAY)
    assert one_row(result).outcome == "MATCHED"
    assert [one.line_id for one in result.lines()] == ["B"]


some_lines = st.lists(
    st.builds(
        lambda kind, gross, fee, net, day, payment, order, link, currency, payout: line(
            "",
            gross,
            fee,
            net,
            kind=kind,
            at=NOVEMBER + day * DAY // 2,
            payment_id=payment,
            order_id=order,
            link_id=link,
            currency=currency,
            payout_id=payout,
        ),
        st.sampled_from(KINDS),
        st.integers(-2000, 2000),
        st.integers(-50, 50),
        st.one_of(st.none(), st.integers(-2000, 2000)),
        st.integers(-3, 5),
        st.sampled_from([None, "O1-P0", "O2-P0", "O3-P1", "P9"]),
        st.sampled_from([None, *ORDERS, "O9", "INV-1", "INV-2"]),
        st.sampled_from([None, "O1-L0", "O3-L1", "L9"]),
        st.sampled_from(["EUR", "SEK"]),
        st.sampled_from(["", "B1", "B2"]),
    ),
    max_size=12,
).map(lambda lines: [replace(one, line_id=f"line {n}") for n, one in enumerate(lines)])
some_closes = st.lists(
    st.builds(
        lambda order_id, values, days: close(
            order_id, *values, decided_at=NOVEMBER + days * DAY // 2
        ),
        st.sampled_from(ORDERS),
        st.lists(st.sampled_from([None, 0, 500, 1000]), min_size=1, max_size=2),
        st.integers(-3, 5),
    ),
    max_size=3,
    unique_by=lambda one: one["order_id"],
)
periods = st.builds(
    lambda first, days: Period(NOVEMBER + first * DAY, NOVEMBER + (first + days) * DAY),
    st.integers(-1, 2),
    st.integers(1, 3),
)
lags = st.integers(0, 2)


@given(closes=some_closes, lines=some_lines, period=periods, lag=lags)
def test_each_line_and_each_close_is_in_exactly_one_row(
    closes: list[OrderClose], lines: list[PayoutLine], period: Period, lag: int
) -> None:
    result = Ledger.of(closes, lines).reconcile(period, lag)
    placed = Counter(one.line_id for row in result.rows for one in row.lines)
    assert set(placed.values()) <= {1}
    inside = {one.line_id for one in lines if period.has(one.at)}
    assert {one.line_id for one in result.lines()} == inside
    orders = Counter(row.close["order_id"] for row in result.rows if row.close)
    assert set(orders.values()) <= {1}
    due = {c["order_id"] for c in closes if period.has(c["decided_at"] + lag * DAY)}
    assert due <= orders.keys()
    assert all(row.close or row.lines for row in result.rows)


@given(closes=some_closes, lines=some_lines, period=periods, lag=lags)
def test_no_money_is_lost(
    closes: list[OrderClose], lines: list[PayoutLine], period: Period, lag: int
) -> None:
    result = Ledger.of(closes, lines).reconcile(period, lag)
    inside = [one for one in lines if period.has(one.at)]
    assert {s["currency"]: s["net_minor"] for s in sums_of(result) if s["net_minor"]} == {
        currency: sums.net for currency, sums in amounts(inside).items() if sums.net
    }
    days = [Ledger.of(closes, lines).reconcile(day, lag) for day in period.days()]
    net: Counter[str] = Counter()
    for day in days:
        for payout in payouts_of("acme", day):
            for item in payout["items"]:
                net[item["currency"]] += item["net_minor"]
    assert {c: minor for c, minor in net.items() if minor} == {
        currency: sums.net for currency, sums in amounts(inside).items() if sums.net
    }


@given(closes=some_closes, lines=some_lines, period=periods, lag=lags, data=st.data())
def test_sequence_of_closes_and_lines_does_not_matter(
    closes: list[OrderClose], lines: list[PayoutLine], period: Period, lag: int, data: st.DataObject
) -> None:
    result = Ledger.of(closes, lines).reconcile(period, lag)
    shuffled = data.draw(st.permutations(closes)), data.draw(st.permutations(lines))
    assert Ledger.of(*shuffled).reconcile(period, lag) == result


@given(closes=some_closes, lines=some_lines, lag=lags)
def test_matched_means_that_the_payments_are_what_was_closed(
    closes: list[OrderClose], lines: list[PayoutLine], lag: int
) -> None:
    for row in Ledger.of(closes, lines).reconcile(THE_DAY, lag).rows:
        if row.close is None:
            assert row.outcome in ("UNKNOWN_TO_US", "OTHER")
            continue
        sums, paid = amounts(row.lines), Counter[str]()
        for one in row.lines:
            paid[one.currency] += one.gross_minor if one.kind in ("PAYMENT", "CORRECTION") else 0
        closed = closed_amounts(row.close)
        # Counters that differ in zeros only are equal.
        fits = closed is not None and Counter(closed) == paid
        fits &= all(one.refunded <= max(0, one.gross) for one in sums.values())
        consistent = all(o.gross_minor - o.fee_minor == o.net_minor for o in row.lines)
        has_payment = any(one.kind == "PAYMENT" for one in row.lines)
        was_due = closed is None or any(closed.values())
        assert (row.outcome == "MATCHED") == (fits and consistent and (has_payment or not was_due))
        assert bool(row.detail) == (row.outcome != "MATCHED")
        if row.outcome == "MISSING":
            assert not [one for one in row.lines if one.kind == "PAYMENT"]


@given(closes=some_closes, lines=some_lines, lag=lags)
def test_records_of_a_day_fit_their_schemas_and_are_the_same_bytes_again(
    closes: list[OrderClose], lines: list[PayoutLine], lag: int
) -> None:
    def records() -> list[bytes]:
        result = Ledger.of(closes, lines).reconcile(THE_DAY, lag)
        updates = settled_orders("acme", result)
        return [
            CODECS.encode(codec.RECONCILIATION, reconciliation_of("acme", result)),
            *(CODECS.encode(codec.PAYOUT, payout) for payout in payouts_of("acme", result)),
            *(CODECS.encode(codec.ORDER_UPDATE, update) for update in updates),
        ]

    assert records() == records()


def test_record_of_a_day_counts_all_differences_and_lists_some() -> None:
    lines = [line(f"{n:04}", payment_id=f"P{n:04}") for n in range(limits.RECONCILIATION_ROWS + 1)]
    record = reconciliation_of("acme", Ledger.of([], lines).reconcile(THE_DAY))
    assert record["unknown_to_us"] == limits.RECONCILIATION_ROWS + 1
    assert len(record["differences"]) == limits.RECONCILIATION_ROWS
    assert record["day"] == day_of(NOVEMBER) == "2025-11-01"
    (sums,) = record["sums"]
    assert sums["gross_minor"] == 1000 * (limits.RECONCILIATION_ROWS + 1)


def test_largest_record_of_a_day_and_of_a_payout_fits_its_topic() -> None:
    longest = "\u5343" * 200
    count = limits.PAYOUT_ITEMS + 1
    lines = [
        line(
            f"{n:04}{longest}"[:200],
            payout_id=f"{n % 9}{longest}"[:200],
            payment_id=f"{n:04}{longest}"[:200],
            link_id=longest,
            reference=longest,
            currency=f"X{chr(65 + n % 26)}{chr(65 + n % 25)}",
        )
        for n in range(count)
    ]
    result = Ledger.of([], lines).reconcile(THE_DAY)
    day = CODECS.encode(codec.RECONCILIATION, reconciliation_of("acme", result))
    assert len(day) < limits.OUTPUT_BYTES
    same = [replace(one, payout_id=longest) for one in lines]
    payouts = list(payouts_of("acme", Ledger.of([], same).reconcile(THE_DAY)))
    assert [(p["part"], p["parts"], len(p["items"])) for p in payouts] == [
        (1, 2, limits.PAYOUT_ITEMS),
        (2, 2, 1),
    ]
    assert all(len(CODECS.encode(codec.PAYOUT, p)) < limits.OUTPUT_BYTES for p in payouts)


def test_only_orders_that_were_paid_out_whole_are_settled() -> None:
    closes = [close("O1"), close("O2"), close("O3")]
    lines = [line("A", payment_id="O1-P0"), line("B", 999, payment_id="O2-P0")]
    result = Ledger.of(closes, lines).reconcile(THE_DAY)
    outcomes: list[ReconciliationOutcome] = [row.outcome for row in result.rows]
    assert outcomes == ["MISSING", "AMOUNT_DIFFERS", "MATCHED"]
    assert set(outcomes[:2]) <= set(DIFFERENCES)
    assert result.differs
    (update,) = settled_orders("acme", result)
    assert (update["order_id"], update["step"], update["at"]) == ("O1", "SETTLED", NOVEMBER + 2)
