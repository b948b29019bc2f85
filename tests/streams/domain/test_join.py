"""The join by payment id: every event reaches its link, whichever comes first."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.records import LinkEvent, PaymentEvent, PaymentLink
from streams.domain.join import join
from tests.streams.domain.build import event


def payment_event(link_id: str | None = None, event: LinkEvent | None = None) -> PaymentEvent:
    return {"provider": "acme", "payment_id": "P", "link_id": link_id, "event": event}


def without_link(word: str) -> PaymentEvent:
    return payment_event(event=event("PAID", word, link_id="", payment_id="P"))


def join_all(facts: list[PaymentEvent]) -> tuple[PaymentLink, list[LinkEvent]]:
    row: PaymentLink | None = None
    events: list[LinkEvent] = []
    for fact in facts:
        outcome = join(row, fact)
        row = outcome.row
        events += outcome.events
    assert row is not None
    return row, events


@given(data=st.data(), words=st.lists(st.sampled_from(["a", "b", "c"]), max_size=6))
def test_every_event_reaches_the_link_whenever_the_link_is_named(
    data: st.DataObject, words: list[str]
) -> None:
    facts = [*map(without_link, words), payment_event("L1")]
    row, events = join_all(list(data.draw(st.permutations(facts))))
    assert row["waiting"] == []
    assert {e["provider_status"] for e in events} == set(words)
    assert {e["link_id"] for e in events} <= {"L1"}


def test_repeated_event_waits_once() -> None:
    row, events = join_all([without_link("a"), without_link("a")])
    assert len(row["waiting"]) == 1
    assert events == []


@given(times=st.permutations([1, 2, 3]))
def test_of_repeats_the_first_received_waits(times: list[int]) -> None:
    facts = [without_link("a") for _ in times]
    for fact, at in zip(facts, times, strict=True):
        assert fact["event"] is not None
        fact["event"]["received_at"] = at
    row, _ = join_all(facts)
    assert [e["received_at"] for e in row["waiting"]] == [1]


def test_first_link_named_stays() -> None:
    row, _ = join_all([payment_event("L1"), payment_event("L2")])
    assert row["link_id"] == "L1"
