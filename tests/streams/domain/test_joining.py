"""The join by payment id: whichever comes first, every event reaches its link."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.records import LinkEvent, PaymentEvent, PaymentLink
from streams.domain.joining import join
from tests.streams.domain.build import event


def fact(link_id: str | None = None, say: LinkEvent | None = None) -> PaymentEvent:
    return {"provider": "acme", "payment_id": "P", "link_id": link_id, "event": say}


def waiting(word: str) -> PaymentEvent:
    return fact(say=event("PAID", word, link_id="", payment_id="P"))


def joined(facts: list[PaymentEvent]) -> tuple[PaymentLink | None, list[LinkEvent]]:
    row: PaymentLink | None = None
    out: list[LinkEvent] = []
    for each in facts:
        outcome = join(row, each)
        row = outcome.row
        out += outcome.events
    return row, out


@given(data=st.data(), words=st.lists(st.sampled_from(["a", "b", "c"]), max_size=6))
def test_every_event_reaches_the_link_wherever_the_link_is_named(
    data: st.DataObject, words: list[str]
) -> None:
    facts = list(data.draw(st.permutations([*(waiting(w) for w in words), fact("L1")])))
    row, events = joined(facts)
    assert row is not None
    assert row["waiting"] == []
    assert {e["provider_status"] for e in events} == set(words)
    assert {e["link_id"] for e in events} <= {"L1"}


def test_repeats_wait_once() -> None:
    row, events = joined([waiting("a"), waiting("a")])
    assert row is not None
    assert len(row["waiting"]) == 1
    assert events == []


def test_the_first_link_named_stays() -> None:
    row, _ = joined([fact("L1"), fact("L2")])
    assert row is not None
    assert row["link_id"] == "L1"
