"""Imported history: paid links whose orders were closed before, elsewhere."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.records import LinkEvent, LinkStatus
from schemas.times import DAY
from streams.domain.link_status import fold
from streams.domain.rules import ProviderRules
from streams.domain.track import track
from tests.streams.domain.build import claim, event, follow, order_event, order_link, registration

BY_ORDER = ProviderRules(order_from="lookup", settlement="by_order", polling=True, can_look_up=True)
ELSEWHERE = ProviderRules(settlement="elsewhere", can_look_up=True)
SIGNS_FOR_ALL = ProviderRules(can_look_up=True, signs_for_all=True)


def imported(closed: bool = True, **changes: Any) -> LinkEvent:
    """Return what an import tells about a link that was paid thirty days ago."""
    fields: dict[str, Any] = {"amount_minor": 500, "currency": "EUR", "order_id": "O1", **changes}
    return event("PAID", source="import", closed_elsewhere=closed, at=31 * DAY, **fields)


def test_imported_link_is_paid_without_a_question_and_without_an_anomaly() -> None:
    outcome = track(None, imported(occurred_at=DAY, payment_id="p1"), ELSEWHERE)
    row = outcome.row
    assert (row["status"], row["coverage"], row["closed_elsewhere"]) == ("PAID", "PAID", True)
    assert row["times"] == {"PAID": DAY}, "when the provider says, not when it was imported"
    assert row["first_seen_at"] == 31 * DAY, "when it was imported"
    assert (outcome.anomalies, outcome.lookup) == ((), None)
    (order,) = outcome.orders
    assert order["link"] is not None
    assert order["link"]["closed_elsewhere"]


def test_import_is_an_answer_of_the_provider_like_a_lookup() -> None:
    claimed = track(None, claim("PAID"), BY_ORDER).row
    row = track(claimed, imported(closed=False), BY_ORDER).row
    assert (row["status"], row["claimed_status"], row["order_id"]) == ("PAID", None, "O1")
    assert row["looked_up_at"] == 31 * DAY
    assert track(None, imported(), SIGNS_FOR_ALL).row["status"] == "PAID", "it is ours"


def test_import_of_an_open_link_does_not_keep_its_order_from_closing() -> None:
    opened = event("CREATED", source="import", closed_elsewhere=True)
    row = track(None, opened, ELSEWHERE).row
    assert row["closed_elsewhere"] is False
    paid = event("PAID", at=32 * DAY, amount_minor=500, currency="EUR")
    (order,) = track(row, paid, ELSEWHERE).orders
    assert follow([order])[-1].close is not None


@given(
    others=st.lists(st.sampled_from(["OPENED", "PROCESSING", "EXPIRED", "PAID"]), max_size=4),
    data=st.data(),
)
def test_import_moves_nothing_backward_whenever_it_comes(
    others: list[str], data: st.DataObject
) -> None:
    events = [*(event(status, at=n + 1) for n, status in enumerate(others)), imported()]  # type: ignore[arg-type]
    rows = []
    for order in (events, list(data.draw(st.permutations(events)))):
        row: LinkStatus | None = None
        for each in order:
            row = fold(row, each, ELSEWHERE)
        assert row is not None
        rows.append({**row, "version": 0})
    assert rows[0] == rows[1]
    assert rows[0]["status"] == "PAID"


def test_order_that_was_closed_elsewhere_has_no_close_and_no_settlement() -> None:
    paid = order_event(order_link("L1", closed_elsewhere=True))
    steps = [order_event(step=step) for step in ("CLOSED", "SPLIT", "SETTLED")]
    for rules in (BY_ORDER, ELSEWHERE):
        first, *others = follow([paid, *steps], rules)
        assert first.row["state"] == "CLOSED"
        assert others[-1].row["state"] == "SETTLED"
        for outcome in (first, *others):
            assert (outcome.close, outcome.correction, outcome.settlements) == (None, None, ())
            assert outcome.anomalies == ()


def test_unpaid_links_of_an_order_that_was_closed_elsewhere_are_history_too() -> None:
    links = [
        order_link("L1", "EXPIRED"),
        order_link("L2", closed_elsewhere=True),
        order_link("L3", "CREATED"),
        order_link("L4", closed_elsewhere=True),
    ]
    outcomes = follow([order_event(link) for link in links])
    assert outcomes[-1].row["state"] == "CLOSED"
    assert [(o.close, o.anomalies) for o in outcomes] == [(None, ())] * 4


def test_payment_after_the_import_is_for_a_person() -> None:
    late = order_event(order_link("L2"), at=32)
    outcome = follow([order_event(order_link("L1", closed_elsewhere=True)), late])[-1]
    assert outcome.close is None
    assert [(a["kind"], a["link_id"], a["detail"]) for a in outcome.anomalies] == [
        (
            "LATE_LINK",
            "L2",
            "order O1 was closed elsewhere, before its links were imported; this link came later "
            "and is PAID with 5.00 EUR",
        )
    ]


def test_order_that_was_closed_here_stays_so() -> None:
    closed, after = follow(
        [order_event(order_link("L1")), order_event(order_link("L1", closed_elsewhere=True))]
    )
    assert closed.close is not None
    assert after.row["state"] == "CLOSE_DECIDED"
    assert (after.close, after.anomalies) == (None, ())


def test_registration_of_an_imported_link_changes_its_order_and_closes_nothing() -> None:
    row = fold(
        fold(None, imported(order_id=None), ELSEWHERE), registration("O1", at=32 * DAY), ELSEWHERE
    )
    assert row["closed_elsewhere"]
    assert row["status"] == "PAID"
