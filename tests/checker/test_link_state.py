"""Two programs that share no code agree about the row of a link, whatever its events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import LinkEvent
from streams.domain.rules import ProviderRules
from streams.domain.track import track
from tests.checker.history import Connection, Record
from tests.checker.link_state import FIELDS, JUDGED, link_state
from tests.streams.domain.build import in_turn, link_events, registrations

KINDS = [
    (ProviderRules(), Connection("acme", "self")),
    (ProviderRules(order_from="lookup"), Connection("acme", "lookup")),
    (ProviderRules(order_from="registration"), Connection("acme", "registration")),
    (ProviderRules(signs_for_all=True), Connection("acme", "self", shared_key=True)),
    (ProviderRules(final_after_end=True), Connection("ipint", "self")),
]


@pytest.mark.parametrize(("rules", "connection"), KINDS)
@given(events=st.lists(link_events() | registrations(), min_size=1, max_size=8))
def test_checker_and_product_agree(
    rules: ProviderRules, connection: Connection, events: list[LinkEvent]
) -> None:
    records = [
        Record(number, ("link-events", 0, number), "acme:L1", 0, {}, event, None, "committed")
        for number, event in enumerate(events)
    ]
    state = link_state("acme:L1", records, connection)
    outcomes = in_turn(track, events, rules)
    row = outcomes[-1].row
    assert {name: row[name] for name in FIELDS} == dict(state.row)  # type: ignore[literal-required]
    assert JUDGED & {*row["anomalies"]} == state.anomalies
    sent = [event for outcome in outcomes for event in outcome.orders]
    assert state.counts == bool(sent and sent[-1]["link"] is not None)
