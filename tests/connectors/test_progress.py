"""How far a group's offset may go."""

from hypothesis import given
from hypothesis import strategies as st

from connectors.progress import Progress


def test_nothing_is_committed_before_anything_was_taken() -> None:
    assert Progress().next_offset is None


def test_the_offset_waits_for_the_first_record_not_done() -> None:
    progress = Progress()
    for offset in (5, 6, 9):
        progress.take(offset)
    progress.done(9)
    progress.done(6)
    assert (progress.next_offset, progress.waiting) == (5, 3)
    progress.done(5)
    assert (progress.next_offset, progress.waiting) == (10, 0)


@given(
    offsets=st.sets(st.integers(0, 200), min_size=1).map(sorted),
    data=st.data(),
)
def test_the_offset_is_the_first_record_not_done_whatever_the_order(
    offsets: list[int], data: st.DataObject
) -> None:
    progress = Progress()
    taken: list[int] = []
    done: set[int] = set()
    seen = 0
    todo = list(offsets)
    while todo or len(done) < len(taken):
        if todo and (len(done) == len(taken) or data.draw(st.booleans())):
            taken.append(todo.pop(0))
            progress.take(taken[-1])
        else:
            finished = data.draw(st.sampled_from([o for o in taken if o not in done]))
            done.add(finished)
            progress.done(finished)
            if data.draw(st.booleans()):
                progress.done(finished)
        open_ones = [o for o in taken if o not in done]
        assert progress.next_offset is not None
        if open_ones:
            # Markers between records may be passed or not: what counts is that no record is.
            passed = [o for o in taken if o < progress.next_offset]
            assert all(o in done for o in passed)
            assert not [o for o in taken if progress.next_offset <= o < open_ones[0]]
        else:
            assert progress.next_offset == taken[-1] + 1
        assert progress.next_offset >= seen
        seen = progress.next_offset
