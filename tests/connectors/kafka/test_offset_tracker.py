"""How far a group may commit."""

from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.offset_tracker import OffsetTracker


def test_first_unfinished_record_holds_the_offset_back() -> None:
    assert OffsetTracker().next_offset is None
    tracker = OffsetTracker()
    for offset in (5, 6, 9):
        tracker.start(offset)
    tracker.finish(9)
    tracker.finish(6)
    assert (tracker.next_offset, tracker.pending) == (5, 3)
    tracker.finish(5)
    assert (tracker.next_offset, tracker.pending) == (10, 0)


@given(offsets=st.sets(st.integers(0, 200), min_size=1).map(sorted), data=st.data())
def test_no_unfinished_record_is_committed_in_any_order(
    offsets: list[int], data: st.DataObject
) -> None:
    tracker = OffsetTracker()
    started: list[int] = []
    finished: set[int] = set()
    committed = 0
    waiting = list(offsets)
    while waiting or len(finished) < len(started):
        if waiting and (len(finished) == len(started) or data.draw(st.booleans())):
            started.append(waiting.pop(0))
            tracker.start(started[-1])
        else:
            offset = data.draw(st.sampled_from([o for o in started if o not in finished]))
            finished.add(offset)
            for _ in range(data.draw(st.integers(1, 2))):
                tracker.finish(offset)
        unfinished = [o for o in started if o not in finished]
        assert tracker.next_offset is not None
        # Markers between records may be passed or not: only records count.
        assert {o for o in started if o < tracker.next_offset} <= finished
        if unfinished:
            assert not [o for o in started if tracker.next_offset <= o < unfinished[0]]
        else:
            assert tracker.next_offset == started[-1] + 1
        assert tracker.next_offset >= committed
        committed = tracker.next_offset
